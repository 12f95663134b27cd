//! The package's schema refuses the flags that the scheduler would refuse: a user is told before anything changes.
use kubernetes_core::extra_args::owned;
use kubernetes_core::flags::Component;
use serde_json::{Value, json};

#[test]
fn flags_that_are_ours_are_refused_by_the_schema_too() {
    let schema = include_str!("../../../catalog/packages/kubernetes/1.20.2/options.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("a schema is JSON");
    for (path, component) in [
        ("/properties/etcd/properties/extra_args", Component::Etcd),
        ("/properties/kube_apiserver/properties/extra_args", Component::Apiserver),
        ("/properties/kube_controller_manager/properties/extra_args", Component::ControllerManager),
        ("/properties/kube_scheduler/properties/extra_args", Component::Scheduler),
        ("/properties/kube_proxy/properties/extra_args", Component::Proxy),
        ("/properties/node/properties/kubelet_extra_args", Component::Kubelet),
    ] {
        let names = schema.pointer(&format!("{path}/propertyNames/not/enum")).cloned().unwrap_or_default();
        assert_eq!(names, json!(owned(component)), "{path}: propertyNames.not.enum");
    }
}
