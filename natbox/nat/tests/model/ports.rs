//! The model's external endpoints: which one a new mapping gets, limits, who gives way, and what outlives a mapping.
//! Formatted by hand, a rule to a line.

use super::*;

impl Model {
    pub(super) fn open_mapping(&mut self, flow: &Flow, towards: Option<SocketAddr>) -> Result<MappingView, Refusal> {
        let external = if self.translates { self.take(flow, towards)? } else { flow.source };
        Ok(self.enter_mapping(flow.protocol, flow.source, external, towards))
    }

    pub(super) fn enter_mapping(&mut self, protocol: Protocol, internal: SocketAddr, external: SocketAddr, towards: Option<SocketAddr>) -> MappingView {
        self.last_id += 1;
        let view = MappingView { id: MappingId(self.last_id), protocol, internal, external, towards, created: self.now };
        self.s.mappings.push(view);
        self.s.recent.push((internal.ip(), self.now));
        self.pair(&view);
        view
    }

    fn pair(&mut self, one: &MappingView) {
        let new = self.paired(one.internal.ip()).is_none();
        if new && self.translates { self.s.pairs.push((one.internal.ip(), one.external.ip())) }
    }

    fn paired(&self, host: IpAddr) -> Option<IpAddr> { self.s.pairs.iter().find(|(one, _)| *one == host).map(|(_, address)| *address) }

    // Limits.

    fn exhausted(&self, reason: DropReason) -> Refusal {
        match self.rules.exhausted {
            Exhausted::DropIcmp13 => no_but(reason, IcmpError::AdminProhibited),
            Exhausted::DropIcmp1 => no_but(reason, IcmpError::HostUnreachable),
            Exhausted::DropSilent | Exhausted::EvictLru | Exhausted::EvictUnassured => no(reason),
        }
    }

    pub(super) fn admit_session(&mut self, host: IpAddr, from: Side) -> Result<(), Refusal> {
        let full = |model: &Model| model.rules.quota.sessions.is_some_and(|most| {
            model.translates && model.s.sessions.iter().filter(|one| one.internal.ip() == host).count() >= most as usize
        });
        if full(self) && from == Inside { self.make_room(|_, one| (one.internal.ip() == host).then_some(0)); }
        match full(self) {
            true if from == Inside => Err(self.exhausted(QuotaExceeded)),
            true => Err(no(QuotaExceeded)),
            false => Ok(()),
        }
    }

    fn admit_mapping(&mut self, host: IpAddr) -> Result<(), Refusal> {
        let full = |model: &Model| model.rules.quota.ports.is_some_and(|most| {
            model.s.mappings.iter().filter(|one| one.internal.ip() == host).count() >= most as usize
        });
        if full(self) { self.make_room(|_, one| (one.internal.ip() == host).then_some(0)); }
        if full(self) { return Err(self.exhausted(QuotaExceeded)) }
        let recent = self.s.recent.iter().filter(|(one, at)| *one == host && *at + Duration::from_secs(1) > self.now).count();
        match self.rules.quota.new_per_second.is_some_and(|most| recent >= most as usize) {
            true => Err(self.exhausted(RateExceeded)),
            false => Ok(()),
        }
    }

    /// Ends the mapping that would end first of those that may give way and that are of use, by their rank.
    fn make_room(&mut self, of_use: impl Fn(&Model, &MappingView) -> Option<usize>) -> bool {
        let of = |one: &MappingView| { let id = one.id; self.s.sessions.iter().filter(move |session| session.on == id) };
        let gives_way = |one: &&MappingView| match self.rules.exhausted {
            Exhausted::EvictLru => true,
            Exhausted::EvictUnassured => of(one).all(Session::is_unassured),
            _ => false,
        };
        let ranked = self.s.mappings.iter().filter(gives_way).filter_map(|one| Some((of(one).map(|session| session.deadline).max(), of_use(self, one)?, one.id)));
        let Some((_, _, id)) = ranked.min() else { return false };
        self.end_mapping(id, MappingEnd::Evicted);
        true
    }

    // Choice.

    fn take(&mut self, flow: &Flow, towards: Option<SocketAddr>) -> Result<SocketAddr, Refusal> {
        self.admit_mapping(flow.source.ip())?;
        let mut offer = self.offer(flow, towards);
        if offer == Err(PortsExhausted) {
            let (bound, of_host) = (self.rules.pooling == Pooling::Paired && self.rules.pool_exhausted == PoolExhausted::Drop, matches!(self.rules.ports.allocation, PortAllocation::Block | PortAllocation::Deterministic));
            let helps = |model: &Model, one: &MappingView| {
                let suits = model.plan.is_some() || flow.protocol == Icmp || model.candidates(flow).contains(&one.external.port());
                let near = !bound || model.paired(flow.source.ip()).is_none_or(|address| address == one.external.ip());
                let own = !of_host || one.internal.ip() == flow.source.ip();
                let rank = model.external.iter().position(|address| *address == one.external.ip());
                rank.filter(|_| one.protocol == flow.protocol && suits && near && own)
            };
            if self.make_room(helps) { offer = self.offer(flow, towards) }
        }
        let (external, overrides) = offer.map_err(|reason| if reason == NoRoute { no(reason) } else { self.exhausted(reason) })?;
        assert!(self.choice.is_none_or(|choice| choice == external), "{:?} was given out for {flow:?}, and not {external}", self.choice);
        self.keep_next(flow, external);
        if overrides { for one in self.on(flow.protocol, external).copied().collect::<Vec<MappingView>>() { self.end_mapping(one.id, MappingEnd::Overridden) } }
        Ok(external)
    }

    fn offer(&mut self, flow: &Flow, towards: Option<SocketAddr>) -> Offer {
        let (host, quarantine, now) = (flow.source.ip(), self.rules.ports.quarantine, self.now);
        if self.external.is_empty() { return Err(NoRoute) }
        self.s.resting.iter_mut().for_each(|one| one.0 = one.0.or(Some(now + quarantine)));
        self.s.resting.retain(|one| one.0 > Some(now));
        if let Some(at) = self.s.kept.iter().position(|one| (one.0, one.1) == (flow.protocol, flow.source)) { return Ok((self.s.kept.remove(at).3, false)) }
        let sibling = |one: &&MappingView| Some(one.protocol) == self.other(flow.protocol, PORTS) && (one.internal, one.towards) == (flow.source, towards) && !self.s.hidden.contains(&one.id);
        let sibling = self.s.mappings.iter().find(sibling).map(|one| one.external);
        if let Some(external) = sibling.filter(|one| !self.basic && self.on(flow.protocol, *one).next().is_none()) { return Ok((external, false)) }
        if self.basic {
            let nobodys = self.external.iter().find(|address| !self.s.pairs.iter().any(|(_, one)| one == *address)).copied();
            return self.paired(host).or(nobodys).map(|address| (SocketAddr::new(address, flow.source.port()), false)).ok_or(AddressesExhausted);
        }
        if self.plan.is_some() { return self.planned(flow) }
        // Where chance names the address, the one that explains what the engine did.
        let firsts = self.firsts(flow);
        let offers: Vec<Offer> = firsts.iter().map(|first| self.offer_from(*first, flow)).collect();
        let offer = *offers.iter().find(|one| self.explains(one)).unwrap_or(&offers[0]);
        let explained: Vec<usize> = (0..firsts.len()).filter(|at| self.explains(&offers[*at])).collect();
        if let (Some(key), [only]) = (self.home(flow), &explained[..]) { self.homes.push((key, firsts[*only])) }
        if let Ok((external, _)) = offer {
            let key = self.counter(external.ip(), flow);
            self.s.last.retain(|(one, _)| *one != key);
            self.s.last.push((key, external.port()));
        }
        offer
    }

    /// For whom a hash chooses an address.
    fn home(&self, flow: &Flow) -> Option<(IpAddr, Option<IpAddr>)> {
        match self.rules.pooling {
            Pooling::HashSource => Some((flow.source.ip(), None)),
            Pooling::HashSourceDestination => Some((flow.source.ip(), Some(flow.destination.ip()))),
            _ => None,
        }
    }

    /// The addresses that pooling may name.
    fn firsts(&mut self, flow: &Flow) -> Vec<IpAddr> {
        let known = self.homes.iter().find(|(key, _)| Some(*key) == self.home(flow)).map(|(_, address)| *address);
        match self.rules.pooling {
            Pooling::Paired => vec![self.paired(flow.source.ip()).unwrap_or_else(|| self.by_load()[0])],
            Pooling::ArbitraryRoundRobin if self.external.len() > 1 => { let turn = self.s.turn % self.external.len(); self.s.turn = turn + 1; vec![self.external[turn]] }
            _ => match known.or(self.choice.map(|choice| choice.ip()).filter(|_| self.home(flow).is_some() && self.rules.pool_exhausted == PoolExhausted::Drop)) {
                Some(address) => vec![address],
                None => self.external.clone(),
            },
        }
    }

    /// The addresses, those with the fewest hosts first.
    fn by_load(&self) -> Vec<IpAddr> {
        let mut all = self.external.clone();
        all.sort_by_key(|address| self.s.pairs.iter().filter(|(_, one)| one == address).count());
        all
    }

    fn after(&self, address: IpAddr) -> Vec<IpAddr> {
        let at = self.external.iter().position(|one| *one == address).unwrap_or(0);
        self.external[at + 1..].iter().chain(&self.external[..at]).copied().collect()
    }

    fn offer_from(&mut self, first: IpAddr, flow: &Flow) -> Offer {
        let stays = self.rules.pool_exhausted == PoolExhausted::Drop;
        let bound = match self.rules.pooling {
            Pooling::Arbitrary | Pooling::ArbitraryRoundRobin => false,
            Pooling::Paired => stays && self.paired(flow.source.ip()).is_some(),
            Pooling::HashSource | Pooling::HashSourceDestination => stays,
        };
        let offer = self.offer_on(first, flow);
        if offer != Err(PortsExhausted) || bound { return offer }
        let others = if self.rules.pooling == Pooling::Paired { self.by_load() } else { self.after(first) };
        others.into_iter().filter(|one| *one != first).find_map(|one| self.offer_on(one, flow).ok()).ok_or(PortsExhausted)
    }

    fn offer_on(&mut self, address: IpAddr, flow: &Flow) -> Offer {
        let (rules, port, at) = (self.rules.clone(), flow.source.port(), |port| SocketAddr::new(address, port));
        let (host, wanted) = (flow.source.ip(), at(port));
        if rules.ports.allocation == PortAllocation::Block { return self.any_of(self.of_blocks(address, flow).into_iter().map(at), flow) }
        let rule = match (flow.protocol, rules.icmp_identifier) {
            (Icmp, IcmpIdentifier::Random) => PortAllocation::Random,
            (Icmp, IcmpIdentifier::Preserve) => PortAllocation::Preserve,
            _ => rules.ports.allocation,
        };
        let all = self.candidates(flow);
        let above = |port: u16| all.iter().filter(|one| **one <= port).count();
        let ring = |start: usize, step: usize| (0..64).map(move |turn| start + turn * step).chain((0..all.len()).map(move |turn| start + turn));
        let next = |model: &Model, start, step| ring(start, step).filter_map(|index| all.get(index % all.len().max(1))).map(|port| at(*port)).find(|one| model.is_free(*one, flow));
        if rule == PortAllocation::Preserve && (flow.protocol == Icmp || port != 0 && rules.ports.range.contains(port)) {
            if self.is_free(wanted, flow) { return Ok((wanted, false)) }
            let owner = self.on(flow.protocol, wanted).next().map(|one| one.internal.ip());
            if owner.is_some_and(|owner| owner != host) { self.s.conflicts.push(host) }
            match rules.ports.conflict {
                _ if flow.protocol == Icmp => {}
                PortConflict::Random => {}
                PortConflict::NextFree => return next(self, above(port), 1).map(|one| (one, false)).ok_or(PortsExhausted),
                PortConflict::Drop => return Err(PortTaken),
                PortConflict::OverrideOld | PortConflict::Overload => if owner.is_some() { return Ok((wanted, rules.ports.conflict == PortConflict::OverrideOld)) },
                PortConflict::OtherAddress => {
                    let other = self.after(address).into_iter().map(|one| SocketAddr::new(one, port)).find(|one| self.is_free(*one, flow));
                    if let Some(other) = other { return Ok((other, false)) }
                }
            }
        }
        if !matches!(rule, PortAllocation::Sequential | PortAllocation::Bsd) { return self.any_of(all.iter().copied().map(at), flow) }
        let step = if rule == PortAllocation::Bsd { 1 } else { usize::from(rules.ports.delta.max(1)) };
        let last = self.s.last.iter().find(|(one, _)| *one == self.counter(address, flow)).map(|(_, last)| *last);
        next(self, last.map_or(0, |last| above(last) + step - 1), step).map(|one| (one, false)).ok_or(PortsExhausted)
    }

    /// The counter of the counting rules: whose, of which protocol and class.
    fn counter(&self, address: IpAddr, flow: &Flow) -> (IpAddr, Protocol, u16) {
        let of_set = self.other(Tcp, PORTS).filter(|_| flow.protocol == Tcp).unwrap_or(flow.protocol);
        let class = *window(self.rules.ports.class, flow.source.port()).start();
        match self.rules.ports.counter { PortCounter::Global => (address, of_set, class), PortCounter::PerHost => (flow.source.ip(), flow.protocol, class) }
    }

    /// The engine's choice, if it is one of these and free; else the first that is free.
    fn any_of(&self, all: impl Iterator<Item = SocketAddr> + Clone, flow: &Flow) -> Offer {
        let chosen = all.clone().find(|one| Some(*one) == self.choice && self.is_free(*one, flow));
        chosen.or_else(|| all.clone().find(|one| self.is_free(*one, flow))).map(|one| (one, false)).ok_or(PortsExhausted)
    }

    /// The ports of the range, in order, that have the class and the parity of the asking one. Of identifiers, which
    /// are too many for a list, the engine's choice.
    fn candidates(&self, flow: &Flow) -> Vec<u16> {
        if flow.protocol == Icmp { return vec![self.choice.map_or(0, |choice| choice.port())] }
        let (all, window) = (self.usable_ports(), window(self.rules.ports.class, flow.source.port()));
        let any = !all.iter().any(|port| window.contains(port));
        all.into_iter().filter(|port| any || window.contains(port)).filter(|port| self.suits(*port, flow)).collect()
    }

    fn usable_ports(&self) -> Vec<u16> { self.rules.ports.range.ranges().iter().cloned().flatten().filter(|port| *port != 0).collect() }

    fn suits(&self, port: u16, flow: &Flow) -> bool { self.rules.ports.parity == PortParity::Ignore || port % 2 == flow.source.port() % 2 }

    /// The ports of the host's blocks; of nobody's, if none of these is free and it may have one more.
    fn of_blocks(&self, address: IpAddr, flow: &Flow) -> Vec<u16> {
        let (all, size, host) = (self.usable_ports(), usize::from(self.rules.ports.block_size.max(1)), flow.source.ip());
        let on = |block: &[u16], address: IpAddr| { let block = block.to_vec(); self.s.mappings.iter().filter(move |one| one.external.ip() == address && block.contains(&one.external.port())) };
        let blocks: Vec<&[u16]> = all.chunks_exact(size).collect();
        let own = |block: &&[u16], address: IpAddr| on(block, address).any(|one| one.internal.ip() == host);
        let held: usize = self.external.iter().map(|address| blocks.iter().filter(|block| own(block, *address)).count()).sum();
        let of_own: Vec<u16> = blocks.iter().filter(|block| own(block, address)).flat_map(|block| block.iter().copied()).filter(|port| self.suits(*port, flow)).collect();
        if of_own.iter().any(|port| self.is_free(SocketAddr::new(address, *port), flow)) { return of_own }
        let nobodys = blocks.iter().filter(|block| held < usize::from(self.rules.ports.blocks_per_host) && on(block, address).next().is_none());
        nobodys.flat_map(|block| block.iter().copied()).filter(|port| self.suits(*port, flow)).collect()
    }

    /// The host's own ports by arithmetic; those that are dealt out as they are needed, while it may have more.
    fn planned(&mut self, flow: &Flow) -> Offer {
        let (plan, rules) = (self.plan.clone().expect("a plan"), self.rules.ports.deterministic.clone());
        let host = match flow.source.ip() { IpAddr::V4(host) => plan.outside(host), IpAddr::V6(_) => vec![] };
        let on = |address: IpAddr, ports: &PortRanges| ports.ranges().iter().cloned().flatten().map(|port| SocketAddr::new(address, port)).filter(|one| self.suits(one.port(), flow)).collect::<Vec<SocketAddr>>();
        let own: Vec<SocketAddr> = host.iter().flat_map(|(address, ports)| on((*address).into(), ports)).collect();
        let offer = self.any_of(own.iter().copied(), flow);
        let shares = rules.compression + rules.dynamic_factor;
        let most = rules.max_ports.unwrap_or(if rules.first.is_some() { self.usable_ports().len() as u32 / shares } else { 0 });
        let used = self.s.mappings.iter().filter(|one| (one.protocol, one.internal.ip()) == (flow.protocol, flow.source.ip())).count();
        if offer.is_ok() || used >= most as usize { return offer }
        // Of a host without ports of its own, a hash names the address: the engine's.
        let known = self.homes.iter().find(|(key, _)| *key == (flow.source.ip(), None)).map(|(_, address)| *address);
        let homes: Vec<IpAddr> = match known.or(self.choice.map(|choice| choice.ip())) {
            Some(home) if host.is_empty() => vec![home],
            None if host.is_empty() => self.external.clone(),
            _ => host.iter().map(|(address, _)| (*address).into()).collect(),
        };
        let offers: Vec<Offer> = homes.iter().map(|address| self.any_of(on(*address, &plan.dynamic()).into_iter(), flow)).collect();
        if host.is_empty() && homes.len() == 1 { self.homes.push(((flow.source.ip(), None), homes[0])) }
        *offers.iter().find(|offer| self.explains(offer)).unwrap_or(&offers[0])
    }

    /// Whether this is what the engine did.
    fn explains(&self, offer: &Offer) -> bool { self.choice.map_or(offer.is_err(), |choice| offer.is_ok_and(|(external, _)| external == choice)) }

    /// Whether a port is free towards the remote.
    fn is_free(&self, external: SocketAddr, flow: &Flow) -> bool {
        let (remote, shares) = (flow.remote(flow.destination), self.rules.ports.overlap == PortOverlap::ByDestination);
        let shared = shares && self.on(flow.protocol, external).next().is_some() && self.session_at(flow.protocol, external, remote).is_none();
        (shared || !self.taken(flow.protocol, external)) && !self.holds_early(flow.protocol, Some(external), remote)
    }

    pub(super) fn taken(&self, protocol: Protocol, external: SocketAddr) -> bool {
        let same = |one: Protocol, other: SocketAddr| other == external && (one == protocol || Some(one) == self.other(protocol, PORTS));
        self.s.mappings.iter().any(|one| same(one.protocol, one.external)) || self.s.resting.iter().any(|one| same(one.1, one.2)) || self.s.kept.iter().any(|one| same(one.0, one.3))
    }

    /// Keeps the port above an even one for the port above an even one.
    fn keep_next(&mut self, flow: &Flow, external: SocketAddr) {
        let even = flow.source.port().is_multiple_of(2) && external.port().is_multiple_of(2) && flow.protocol != Icmp && !self.basic;
        let (next, above) = (up(flow.source), up(external));
        let known = self.s.kept.iter().any(|one| (one.0, one.1) == (flow.protocol, next));
        let may = self.rules.ports.contiguity == PortContiguity::ReserveNext && self.rules.ports.range.contains(above.port());
        if even && may && !known && !self.taken(flow.protocol, above) { self.s.kept.push((flow.protocol, next, external, above)) }
    }

    // Afterwards.

    /// What a mapping leaves behind.
    pub(super) fn release(&mut self, gone: &MappingView, overridden: bool) {
        self.s.kept.retain(|one| gone.internal.port() == u16::MAX || (one.0, one.1, one.2) != (gone.protocol, up_one(gone.internal), gone.external));
        let host = gone.internal.ip();
        if !self.s.mappings.iter().any(|one| one.internal.ip() == host) { self.s.pairs.retain(|(one, _)| *one != host) }
        let still = self.taken(gone.protocol, gone.external) || !self.owns(gone.external) || self.basic || overridden;
        if !still && self.rests(gone.protocol) {
            self.s.resting.push((Some(self.now + self.rules.ports.quarantine), gone.protocol, gone.external));
            self.let_rest_less();
        }
    }

    pub(super) fn rests(&self, protocol: Protocol) -> bool {
        let ports = &self.rules.ports;
        let exempt = protocol == Tcp || ports.allocation == PortAllocation::Deterministic || *self.rules.filtering.of(protocol) != Filtering::EndpointIndependent;
        !exempt && !ports.quarantine.is_zero() && ports.quarantine_max != Some(0)
    }

    pub(super) fn let_rest_less(&mut self) {
        let over = self.s.resting.len().saturating_sub(self.rules.ports.quarantine_max.map_or(usize::MAX, |most| most as usize));
        self.s.resting.drain(..over);
    }

    /// The addresses have changed.
    pub(super) fn move_house(&mut self) {
        let (stays, global) = (self.external.clone(), self.rules.ports.counter == PortCounter::Global);
        self.homes.clear();
        self.s.pairs.clear();
        self.s.resting.retain(|one| stays.contains(&one.2.ip()));
        self.s.kept.retain(|one| stays.contains(&one.3.ip()));
        self.s.last.retain(|((owner, ..), _)| !global || stays.contains(owner));
        for one in self.s.mappings.clone() { self.pair(&one) }
    }
}

fn up(one: SocketAddr) -> SocketAddr { SocketAddr::new(one.ip(), one.port() | 1) }
fn up_one(one: SocketAddr) -> SocketAddr { SocketAddr::new(one.ip(), one.port().wrapping_add(1)) }

/// The ports that are of one class with this one.
fn window(class: PortClass, port: u16) -> std::ops::RangeInclusive<u16> {
    match (class, port) {
        (PortClass::All, _) => 1..=u16::MAX,
        (PortClass::Same, 0..=1023) => 1..=1023,
        (PortClass::Netfilter, 0..=511) => 1..=511,
        (PortClass::Netfilter, 512..=1023) => 600..=1023,
        _ => 1024..=u16::MAX,
    }
}
