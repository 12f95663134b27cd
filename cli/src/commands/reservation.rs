//! `mezzo reservation`, `mezzo volume`: what operators reserve on agents, and the volumes made of it.
use model::{Holding, Milli, Principal, Quantities, Reservation as Title, Resources, RoleName, VolumeId};
use proto::convert::resources::{from_wire, to_wire, units};
use proto::mezzo::v1::change_holdings_request::Kind;
use proto::mezzo::v1::{ChangeHoldingsRequest, HoldingDescription, HoldingList, ListHoldingsRequest};

use crate::client::Pool;
use crate::failure::{Failure, Result};
use crate::grammar::Global;
use crate::grammar::reservation::{Add, Create, Move, Remove, Reservation, Resize, Volume, Which};
use crate::output::{self, Rows};

pub(crate) async fn reservation(verb: Reservation, global: &Global) -> Result<()> {
    let pool = Pool::connect(global)?;
    match verb {
        Reservation::List { agent } => output::data(global.output, &list(&pool, &agent).await?, rows),
        Reservation::Add(arguments) => add(&pool, arguments).await,
        Reservation::Remove(arguments) => remove(&pool, arguments).await,
        Reservation::Move(arguments) => move_to(&pool, arguments).await,
    }
}

pub(crate) async fn volume(verb: Volume, global: &Global) -> Result<()> {
    let pool = Pool::connect(global)?;
    match verb {
        Volume::Create(arguments) => create(&pool, arguments).await,
        Volume::Destroy(which) => {
            let (_, held) = find_volume(&pool, &which).await?;
            output::confirm(global.yes, &format!("destroy volume {} on {} with its data", which.id, which.agent))?;
            ask(&pool, &which.agent, Kind::Destroy, &held, |_| {}).await?;
            output::note(&format!("volume {} is destroyed", which.id));
            Ok(())
        }
        Volume::Grow(Resize { which, size }) => {
            let (holding, held) = find_volume(&pool, &which).await?;
            let disk = held.sum().disks.keys().next().cloned();
            let plain = Holding::plain(holding.reservation);
            let more = Resources::held_as(plain, Quantities::of_disk(disk, size));
            ask(&pool, &which.agent, Kind::Grow, &held, |request| request.addition = to_wire(&more)).await?;
            output::note(&format!("volume {} is {size} MiB larger", which.id));
            Ok(())
        }
        Volume::Shrink(Resize { which, size }) => {
            let (_, held) = find_volume(&pool, &which).await?;
            ask(&pool, &which.agent, Kind::Shrink, &held, |request| request.subtract = units(size)).await?;
            output::note(&format!("volume {} is {size} MiB smaller", which.id));
            Ok(())
        }
    }
}

async fn list(pool: &Pool, agent: &str) -> Result<HoldingList> {
    let request = ListHoldingsRequest { agent: agent.to_owned() };
    let answer = pool.operator().list_holdings(request).await.map_err(|status| pool.refused(&status))?;
    Ok(answer.into_inner())
}

async fn ask(
    pool: &Pool,
    agent: &str,
    kind: Kind,
    held: &Resources,
    more: impl FnOnce(&mut ChangeHoldingsRequest),
) -> Result<()> {
    let mut request = ChangeHoldingsRequest {
        agent: agent.to_owned(),
        kind: kind.into(),
        resources: to_wire(held),
        ..ChangeHoldingsRequest::default()
    };
    more(&mut request);
    pool.operator().change_holdings(request).await.map_err(|status| pool.refused(&status))?;
    Ok(())
}

async fn add(pool: &Pool, arguments: Add) -> Result<()> {
    let Add { agent, role, resources, refine, labels } = arguments;
    let refines = match &refine {
        None => None,
        Some(outer) => Some(Box::new(find(pool, &agent, outer, None).await?.0.reservation)),
    };
    // The master puts the name of whoever asks.
    let title = Title { refines, ..Title::new(role_name(&role)?, Principal::new(""), labels.into_iter().collect()) };
    let wanted = Resources::held_as(Holding::plain(title), amounts(&resources)?);
    ask(pool, &agent, Kind::Reserve, &wanted, |_| {}).await?;
    output::note(&format!("{wanted} reserved on {agent}"));
    Ok(())
}

async fn remove(pool: &Pool, arguments: Remove) -> Result<()> {
    let held = part(pool, &arguments).await?;
    ask(pool, &arguments.agent, Kind::Unreserve, &held, |_| {}).await?;
    output::note(&format!("{held} is not so reserved on {} any more", arguments.agent));
    Ok(())
}

async fn move_to(pool: &Pool, Move { from, to }: Move) -> Result<()> {
    let source = part(pool, &from).await?;
    let held = source.held.iter().next().map(|(holding, quantities)| (holding.clone(), quantities.clone()));
    let (holding, quantities) = held.ok_or_else(|| Failure::usage("nothing is to be moved", "name an amount"))?;
    let title = Title { role: role_name(&to)?, principal: Principal::new(""), ..holding.reservation };
    let wanted = Resources::held_as(Holding::plain(title), quantities);
    ask(pool, &from.agent, Kind::Reserve, &wanted, |request| request.source = to_wire(&source)).await?;
    output::note(&format!("{wanted} reserved on {}", from.agent));
    Ok(())
}

async fn create(pool: &Pool, Create { which, size, path, disk, shared }: Create) -> Result<()> {
    let (title, _) = find(pool, &which.agent, &which.role, None).await?;
    let id = VolumeId::new(&which.id)
        .map_err(|error| Failure::usage(format!("volume id '{}' {error}", which.id), "choose another id"))?;
    let volume = Some(model::Volume { id, container_path: path, shared });
    let made = Resources::held_as(Holding { volume, ..title }, Quantities::of_disk(disk, size));
    ask(pool, &which.agent, Kind::Create, &made, |_| {}).await?;
    output::note(&format!("volume {} made on {}", which.id, which.agent));
    Ok(())
}

/// What is reserved for a role on an agent, and is no volume; it must be one reservation.
async fn find(pool: &Pool, agent: &str, role: &str, principal: Option<&str>) -> Result<(Holding, Quantities)> {
    let found = list(pool, agent).await?.holdings;
    let is_meant = |one: &&HoldingDescription| {
        one.role == role && one.volume.is_empty() && principal.is_none_or(|principal| one.principal == principal)
    };
    let meant: Vec<&HoldingDescription> = found.iter().filter(is_meant).collect();
    match meant.as_slice() {
        [one] => read(one),
        [] => Err(Failure::not_found(
            format!("nothing is reserved for role '{role}' on agent '{agent}'"),
            format!("see what is: mezzo reservation list {agent}"),
        )),
        many => Err(Failure::usage(
            format!("{} reservations for role '{role}' are on agent '{agent}'", many.len()),
            "say whose with --principal; those that differ in labels alone are their framework's to give back",
        )),
    }
}

async fn find_volume(pool: &Pool, which: &Which) -> Result<(Holding, Resources)> {
    let found = list(pool, &which.agent).await?.holdings;
    let Some(one) = found.iter().find(|one| one.role == which.role && one.volume == which.id) else {
        return Err(Failure::not_found(
            format!("there is no volume '{}' for role '{}' on agent '{}'", which.id, which.role, which.agent),
            format!("see which there are: mezzo reservation list {}", which.agent),
        ));
    };
    let (holding, quantities) = read(one)?;
    Ok((holding.clone(), Resources::held_as(holding, quantities)))
}

fn read(one: &HoldingDescription) -> Result<(Holding, Quantities)> {
    let resources =
        from_wire(&one.resources).map_err(|error| Failure::while_doing("read the master's answer", &error))?;
    let held = resources.held.into_iter().next();
    held.ok_or_else(|| Failure::not_found("the master names nothing reserved", "try again"))
}

/// All or some of a reservation.
async fn part(pool: &Pool, arguments: &Remove) -> Result<Resources> {
    let (holding, all) = find(pool, &arguments.agent, &arguments.role, arguments.principal.as_deref()).await?;
    let some = arguments.resources.as_deref().map(amounts).transpose()?;
    Ok(Resources::held_as(holding, some.unwrap_or(all)))
}

fn amounts(text: &str) -> Result<Quantities> {
    let next = "write it as in 'cpus:2;mem:1024;disk[path:/data]:5000', memory and disk in MiB";
    let read = agent::config::amounts(text).map_err(|error| Failure::usage(error.to_string(), next))?;
    if read.amounts().all(|amount| amount == Milli(0)) && read.is_empty() {
        return Err(Failure::usage("nothing is named", next));
    }
    Ok(read)
}

fn role_name(text: &str) -> Result<RoleName> {
    RoleName::new(text).map_err(|error| Failure::usage(format!("role '{text}' {error}"), "choose another role"))
}

fn rows(list: &HoldingList) -> Rows {
    let mut rows = Rows::new(&["AGENT", "ROLE", "RESOURCES", "VOLUME", "BY", "USED"]);
    for one in &list.holdings {
        let role = match one.refines.as_slice() {
            [] => one.role.clone(),
            outer => format!("{} (of {})", one.role, outer.join(", of ")),
        };
        let volume = match (one.volume.as_str(), one.shared) {
            ("", _) => String::new(),
            (id, true) => format!("{id} at {}, shared", one.container_path),
            (id, false) => format!("{id} at {}", one.container_path),
        };
        let by = if one.fixed { "the agent's configuration".to_owned() } else { one.principal.clone() };
        rows.push([
            one.agent.clone(),
            role,
            one.quantities.as_ref().map(|held| held.text.clone()).unwrap_or_default(),
            volume,
            by,
            if one.in_use { "yes" } else { "no" }.to_owned(),
        ]);
    }
    rows
}
