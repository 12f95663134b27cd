//! Every request and answer of every service, as one is decoded before anybody looks at it. `tests/complete.rs` compares the list
//! with the services.
use prost::Message as _;
use proto::mezzo::v1 as wire;

use crate::parts;

macro_rules! messages {
    ($($name:ident)*) => {
        /// The messages, in the order in which an input's first byte names them.
        pub const MESSAGES: &[&str] = &[$(stringify!($name)),*];

        const READERS: &[fn(&[u8])] = &[$(|bytes| {
            let Ok(message) = proto::bounds::decode::<wire::$name>(bytes) else { return };
            // Maps have no order, and a number that is none is not itself: only what was read must be readable again.
            let again = message.encode_to_vec();
            assert!(wire::$name::decode(again.as_slice()).is_ok(), "{message:?}");
            let text = serde_json::to_string(&message);
            assert!(text.is_ok() || again.len() > 0, "{message:?}");
        }),*];
    };
}

messages! {
    JoinRequest JoinReply AgentMessage MasterMessage FetchSecretRequest FetchSecretReply
    FrameworkCall FrameworkEvent
    GetMasterRequest MasterDescription ListAgentsRequest AgentList ListFrameworksRequest FrameworkList
    ListRolesRequest RoleList SetQuotasRequest QuotasSet SetWeightRequest Done ListTasksRequest TaskList
    ListVipsRequest VipList WatchEventsRequest PoolEvent ExplainRequest Explanation TeardownFrameworkRequest
    DeactivateAgentRequest ReactivateAgentRequest DrainAgentRequest MarkAgentGoneRequest ChangeHoldingsRequest
    ListHoldingsRequest HoldingList ScheduleMaintenanceRequest CancelMaintenanceRequest StartMaintenanceRequest
    StopMaintenanceRequest CreateJoinTokenRequest JoinToken IssueIdentityRequest Identity SearchCatalogRequest
    PackageList ShowPackageRequest PackageDetail InstallPackageRequest UpdatePackageRequest UninstallPackageRequest
    Installation ListInstallationsRequest InstallationList
    ReadLogRequest LogChunk ExecInput ExecOutput PreflightRequest PreflightReport
}

/// Which, and the message.
pub fn target(data: &[u8]) {
    let [which, bytes] = parts::of(data);
    READERS[usize::from(which.first().copied().unwrap_or_default()) % READERS.len()](bytes);
}
