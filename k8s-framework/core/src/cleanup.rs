//! What must be undone in an agent's network after a node, worked out from what `iptables-save` and `nft` list.
//!
//! Chains are known by their names: kubelet and kube-proxy make `KUBE-*`, the portmap plugin `CNI-*`, the node itself
//! [`CHAIN`]. In other chains only rules that jump to these, or that were made for them, are deleted.
use serde_json::Value;

/// The node's own chain in the table `nat`.
pub const CHAIN: &str = "MEZZO-NODE";
/// How a comment in [`CHAIN`] with the former value of a sysctl begins: `sysctl:<name>=<value>`.
pub const RECORD: &str = "sysctl:";

fn is_ours(chain: &str) -> bool {
    chain == CHAIN || chain.starts_with("KUBE-") || chain.starts_with("CNI-")
}

/// Input for `iptables-restore --noflush` that removes our chains and every rule that leads to them; empty if there is
/// nothing to remove.
pub fn removal(saved: &str) -> String {
    let mut script = String::new();
    let mut table = Table::default();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = Table { name: name.to_owned(), ..Table::default() };
        } else if let Some(chain) = line.strip_prefix(':').and_then(|rest| rest.split(' ').next()) {
            if is_ours(chain) {
                table.chains.push(chain.to_owned());
            }
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let chain = rule.split(' ').next().unwrap_or_default();
            let target = rule.split(' ').skip_while(|word| *word != "-j" && *word != "-g").nth(1);
            if !is_ours(chain) && target.is_some_and(is_ours) {
                table.rules.push(rule.to_owned());
            }
        } else if line == "COMMIT" {
            table.write(&mut script);
        }
    }
    script
}

#[derive(Debug, Default)]
struct Table {
    name: String,
    chains: Vec<String>,
    rules: Vec<String>,
}

impl Table {
    fn write(&self, script: &mut String) {
        if self.chains.is_empty() && self.rules.is_empty() {
            return;
        }
        let mut lines = vec![format!("*{}", self.name)];
        // Naming a chain flushes it, so that none is held by a rule of another when it is deleted.
        lines.extend(self.chains.iter().map(|chain| format!(":{chain} - [0:0]")));
        lines.extend(self.rules.iter().map(|rule| format!("-D {rule}")));
        lines.extend(self.chains.iter().map(|chain| format!("-X {chain}")));
        lines.push("COMMIT\n".to_owned());
        script.push_str(&lines.join("\n"));
    }
}

/// Sysctls and their former values as recorded in [`CHAIN`].
pub fn recorded_sysctls(saved: &str) -> Vec<(String, String)> {
    let start = format!("-A {CHAIN} ");
    saved
        .lines()
        .filter(|line| line.starts_with(&start))
        .filter_map(|line| line.split_once(RECORD))
        .map(|(_, rest)| rest.split(['"', ' ']).next().unwrap_or_default())
        .filter_map(|record| record.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Whether a table as listed by `nft --json list table` has no rule and no chain but hooks that accept.
pub fn says_nothing(listing: &Value) -> bool {
    let Some(items) = listing["nftables"].as_array() else { return false };
    items.iter().all(|item| {
        let is_hook = item["chain"]["hook"].is_string() && item["chain"]["policy"] == "accept";
        item["metainfo"].is_object() || item["table"].is_object() || is_hook
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SAVED: &str = "\
# Generated
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:OPERATOR - [0:0]
:KUBE-SERVICES - [0:0]
:MEZZO-NODE - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -j OPERATOR
-A POSTROUTING -j MEZZO-NODE
-A OPERATOR -s 192.0.2.0/24 -j MASQUERADE
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-X
-A MEZZO-NODE -m comment --comment \"sysctl:net/ipv4/ip_forward=0\"
-A MEZZO-NODE -m comment --comment sysctl:net/ipv4/conf/all/route_localnet=0
-A MEZZO-NODE -s 10.244.3.0/24 ! -d 10.244.0.0/16 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -s 192.0.2.9/32 -j DROP
COMMIT
";

    #[test]
    fn only_what_nodes_made_is_removed() {
        assert_eq!(
            removal(SAVED),
            "*nat\n:KUBE-SERVICES - [0:0]\n:MEZZO-NODE - [0:0]\n\
             -D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
             -D POSTROUTING -j MEZZO-NODE\n-X KUBE-SERVICES\n-X MEZZO-NODE\nCOMMIT\n"
        );
        assert_eq!(removal("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"), "");
    }

    #[test]
    fn sysctls_come_back_as_they_were() {
        assert_eq!(
            recorded_sysctls(SAVED),
            [("net/ipv4/ip_forward", "0"), ("net/ipv4/conf/all/route_localnet", "0")]
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
    }

    #[test]
    fn a_table_with_a_rule_or_a_chain_of_its_own_stays() {
        let hook = json!({ "chain": { "hook": "input", "policy": "accept" } });
        let of = |more: Value| json!({ "nftables": [{ "metainfo": {} }, { "table": {} }, hook, more] });
        assert!(says_nothing(&of(json!({ "table": {} }))));
        assert!(!says_nothing(&of(json!({ "rule": {} }))));
        assert!(!says_nothing(&of(json!({ "chain": { "name": "OPERATOR" } }))));
        assert!(!says_nothing(&of(json!({ "chain": { "hook": "input", "policy": "drop" } }))));
        assert!(!says_nothing(&json!({})));
    }
}
