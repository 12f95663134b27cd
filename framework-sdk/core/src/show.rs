//! What a scheduler shows: its plans and its instances, computed from what is stored and how things stand.
use std::collections::BTreeMap;

use model::TaskState;

use crate::decommission::stages;
use crate::plan::coordinator::{Step, Work, plans, steps};
use crate::plan::strategy::turns;
use crate::plan::{PhaseView, PlanView, Status, StepView};
use crate::record::{Stage, UnitKey};
use crate::scheduler::Scheduler;
use crate::spec::{DECOMMISSION, DEPLOY, Goal, PhaseSpec, PlanSpec, RECOVERY, ServiceSpec, Strategy, UNINSTALL};
use crate::uninstall::PHASES;
use crate::view::{InstanceView, ServiceView, TaskView};

fn strategy_name(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Serial => "serial",
        Strategy::Parallel => "parallel",
        Strategy::Dependency(_) => "dependency",
    }
    .to_owned()
}

fn waits_for(strategy: &Strategy, own: &str, members: &[(&str, bool)]) -> String {
    let names: Vec<&str> = match strategy {
        Strategy::Parallel => Vec::new(),
        Strategy::Serial => {
            members.iter().find(|(_, is_complete)| !is_complete).map(|(name, _)| *name).into_iter().collect()
        }
        Strategy::Dependency(after) => after
            .get(own)
            .into_iter()
            .flatten()
            .map(String::as_str)
            .filter(|needed| !members.iter().any(|(name, is_complete)| name == needed && *is_complete))
            .collect(),
    };
    if names.is_empty() { String::new() } else { format!("waits for {}", names.join(", ")) }
}

impl Scheduler {
    /// Instances and tasks.
    pub fn view(&self) -> ServiceView {
        let mut instances: BTreeMap<_, InstanceView> = BTreeMap::new();
        for (key, unit) in &self.units {
            let entry = instances.entry(key.instance.clone()).or_insert_with(|| InstanceView {
                name: key.instance.clone(),
                placement: None,
                tasks: BTreeMap::new(),
                is_ready: true,
                is_leaving: self.decommissions.contains_key(&key.instance) || self.meta.uninstalling,
            });
            match (&mut entry.placement, &unit.placement) {
                (Some(known), Some(more)) => known.ports.extend(more.ports.clone()),
                (none @ None, more) => none.clone_from(more),
                (Some(_), None) => {}
            }
            let spec = unit.spec.as_ref();
            entry.is_ready &= unit.executor_id.is_some() && spec.is_some_and(|spec| unit.is_at_goal(key, spec));
            for (name, task) in &unit.tasks {
                let spec = spec.and_then(|spec| spec.task(name));
                entry.tasks.insert(
                    name.clone(),
                    TaskView {
                        name: name.clone(),
                        task_id: task.task_id.clone(),
                        executor_id: unit
                            .executor_id
                            .clone()
                            .unwrap_or_else(|| model::ExecutorId::new(key.to_string()).expect("names are plain")),
                        state: task.state,
                        message: task.message.clone(),
                        ready: spec.is_some_and(|spec| match spec.goal {
                            Goal::Running => unit.is_ready(spec),
                            Goal::Finish | Goal::Once => task.state == TaskState::Finished,
                        }),
                        healthy: task.healthy,
                        launched_at: task.launched_at,
                        running_at: task.running_at,
                        ended_at: task.ended_at,
                        unreachable_since: task.unreachable_since,
                    },
                );
            }
        }
        ServiceView { instances }
    }

    /// All plans.
    pub fn plan_views(&self) -> Vec<PlanView> {
        let mut views = Vec::new();
        if let Some(target) = &self.target {
            views.extend(plans(target).iter().map(|plan| self.written_plan(plan, target)));
            views.push(self.recovery_plan());
            views.push(self.decommission_plan());
        }
        if self.meta.uninstalling || self.meta.uninstalled {
            views.push(self.uninstall_plan());
        }
        views
    }

    fn written_plan(&self, plan: &PlanSpec, target: &ServiceSpec) -> PlanView {
        let record = self.plans.get(&plan.name);
        let is_paused = record.is_some_and(|record| record.is_paused);
        let is_idle = plan.name != DEPLOY && !record.is_some_and(|record| record.is_active || !record.steps.is_empty());
        let all: Vec<(&PhaseSpec, Vec<Step>)> = plan.phases.iter().map(|phase| (phase, steps(phase, target))).collect();
        let complete: Vec<(&str, bool)> = all
            .iter()
            .map(|(phase, steps)| {
                (phase.name.as_str(), steps.iter().all(|step| self.is_complete(&plan.name, &phase.name, &step.name)))
            })
            .collect();
        let phase_turns = turns(&plan.strategy, &complete);
        let phases: Vec<PhaseView> = all
            .iter()
            .zip(&phase_turns)
            .map(|((phase, steps), has_turn)| {
                let members: Vec<(&str, bool)> = steps
                    .iter()
                    .map(|step| (step.name.as_str(), self.is_complete(&plan.name, &phase.name, &step.name)))
                    .collect();
                let views: Vec<StepView> = steps
                    .iter()
                    .map(|step| {
                        let waiting = if is_idle {
                            "the plan is begun by hand".to_owned()
                        } else if *has_turn {
                            waits_for(&phase.strategy, &step.name, &members)
                        } else {
                            waits_for(&plan.strategy, &phase.name, &complete)
                        };
                        self.step_view(&plan.name, &phase.name, step, waiting)
                    })
                    .collect();
                phase_view(&phase.name, &phase.strategy, views)
            })
            .collect();
        let mut view = plan_view(&plan.name, &plan.strategy, phases, is_paused);
        if plan.name == DEPLOY {
            view.note = self.deploy_note();
        }
        view
    }

    fn deploy_note(&self) -> String {
        match &self.undone {
            _ if !self.note.is_empty() => self.note.clone(),
            Some(undone) => {
                let logs = undone.task_id.as_ref().map(|id| format!("; see mezzo task logs {id} --stderr"));
                format!(
                    "the last update was undone: {}{}; correct the option with: mezzo catalog update {}",
                    undone.words(),
                    logs.unwrap_or_default(),
                    self.owner.framework
                )
            }
            None => String::new(),
        }
    }

    fn step_view(&self, plan: &str, phase: &str, step: &Step, waiting: String) -> StepView {
        let record = self.step_record(plan, phase, &step.name).cloned().unwrap_or_default();
        let standing = self.standing.get(&format!("{plan}/{phase}/{}", step.name)).cloned();
        let (status, why) = if record.completed_at.is_some() {
            (Status::Complete, String::new())
        } else {
            standing.unwrap_or((Status::Pending, waiting))
        };
        let mut view = StepView {
            name: step.name.clone(),
            status,
            why,
            instance: None,
            tasks: Vec::new(),
            agent: String::new(),
            began_unix_ms: record.began_at,
            launched_unix_ms: record.launched_at,
            completed_unix_ms: record.completed_at,
        };
        if let Work::Unit(key) = &step.work {
            self.describe(&mut view, key);
        }
        view
    }

    fn describe(&self, view: &mut StepView, key: &UnitKey) {
        view.instance = Some(key.instance.clone());
        let unit = self.units.get(key);
        let pod = self.target.as_ref().and_then(|target| target.pod(&key.instance.pod));
        view.tasks = pod.into_iter().flat_map(|pod| key.tasks(pod)).map(|task| task.name.clone()).collect();
        if let Some(placement) = unit.and_then(|unit| unit.placement.as_ref()) {
            view.agent.clone_from(&placement.agent_name);
        }
    }

    fn recovery_plan(&self) -> PlanView {
        let prefix = format!("{RECOVERY}/{RECOVERY}/");
        let mut views = Vec::new();
        for (key, unit) in &self.units {
            let Some((status, why)) = self.standing.get(&format!("{prefix}{key}")) else { continue };
            let mut view = own_step(key.to_string(), *status, why.clone());
            view.launched_unix_ms =
                unit.executor_id.as_ref().and_then(|_| unit.tasks.values().map(|task| task.launched_at).min());
            self.describe(&mut view, key);
            views.push(view);
        }
        let phases = if views.is_empty() { Vec::new() } else { vec![phase_view(RECOVERY, &Strategy::Parallel, views)] };
        plan_view(RECOVERY, &Strategy::Parallel, phases, self.plans.get(RECOVERY).is_some_and(|plan| plan.is_paused))
    }

    fn decommission_plan(&self) -> PlanView {
        let mut phases = Vec::new();
        for (instance, record) in self.decommissions.iter().rev() {
            let views = stages(&record.spec)
                .into_iter()
                .map(|(stage, name)| {
                    let standing = self.standing.get(&format!("{DECOMMISSION}/{instance}/{name}"));
                    let (status, why) = match standing {
                        _ if stage < record.stage => (Status::Complete, String::new()),
                        Some((status, why)) if stage == record.stage || record.stage == Stage::BeforeKill => {
                            (*status, why.clone())
                        }
                        Some(_) | None => (Status::Pending, "waits for its turn".to_owned()),
                    };
                    let mut view = own_step(name, status, why);
                    view.instance = Some(instance.clone());
                    view.began_unix_ms = (stage == record.stage).then_some(record.stage_at);
                    view
                })
                .collect();
            phases.push(phase_view(&instance.to_string(), &Strategy::Serial, views));
        }
        plan_view(
            DECOMMISSION,
            &Strategy::Serial,
            phases,
            self.plans.get(DECOMMISSION).is_some_and(|plan| plan.is_paused),
        )
    }

    fn uninstall_plan(&self) -> PlanView {
        let phases = PHASES
            .iter()
            .map(|phase| {
                let views = self
                    .uninstall_steps(phase)
                    .into_iter()
                    .map(|step| {
                        let record = self.step_record(UNINSTALL, phase, &step).cloned().unwrap_or_default();
                        let standing = self.standing.get(&format!("{UNINSTALL}/{phase}/{step}")).cloned();
                        let (status, why) = if record.completed_at.is_some() || self.meta.uninstalled {
                            (Status::Complete, String::new())
                        } else {
                            standing.unwrap_or((Status::Pending, "waits for its turn".to_owned()))
                        };
                        let mut view = own_step(step, status, why);
                        view.began_unix_ms = record.began_at;
                        view.completed_unix_ms = record.completed_at;
                        view
                    })
                    .collect();
                phase_view(phase, &Strategy::Serial, views)
            })
            .collect();
        plan_view(UNINSTALL, &Strategy::Serial, phases, self.plans.get(UNINSTALL).is_some_and(|plan| plan.is_paused))
    }
}

fn own_step(name: String, status: Status, why: String) -> StepView {
    StepView {
        name,
        status,
        why,
        instance: None,
        tasks: Vec::new(),
        agent: String::new(),
        began_unix_ms: None,
        launched_unix_ms: None,
        completed_unix_ms: None,
    }
}

fn phase_view(name: &str, strategy: &Strategy, steps: Vec<StepView>) -> PhaseView {
    let status = Status::of(steps.iter().map(|step| step.status), false);
    PhaseView { name: name.to_owned(), status, strategy: strategy_name(strategy), steps }
}

fn plan_view(name: &str, strategy: &Strategy, phases: Vec<PhaseView>, is_paused: bool) -> PlanView {
    let status = Status::of(phases.iter().map(|phase| phase.status), is_paused);
    let note = String::new();
    PlanView { name: name.to_owned(), status, is_paused, strategy: strategy_name(strategy), note, phases }
}
