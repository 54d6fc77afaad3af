package group

import (
	"fmt"
	"slices"
	"strings"
)

// rebalanceOrComplete starts a rebalance, or, during one, ends the join phase
// if everybody is there.
func (m *Machine) rebalanceOrComplete(g *group, why string) {
	if g.canRebalance() {
		m.prepareRebalance(g, why)
		return
	}
	m.completeJoinIfReady(g)
}

// completeJoinIfReady ends a join phase with nobody left to wait for. The first
// join phase of an empty group always runs its delay.
func (m *Machine) completeJoinIfReady(g *group) {
	if g.state == PreparingRebalance && g.previous != Empty && g.allJoined() {
		m.completeJoin(g)
	}
}

// prepareRebalance begins a join phase (GroupMetadataManager.prepareRebalance).
func (m *Machine) prepareRebalance(g *group, why string) {
	if g.state == CompletingRebalance {
		m.resetAssignment(g, rebalanceInProgress)
	}
	clear(g.pendingSync)
	m.timers.cancel(&g.syncTimer)

	initial := g.state == Empty
	g.transitionTo(PreparingRebalance, m.now)
	m.logf("group %s: preparing to rebalance, old generation %d: %s", g.id, g.generation, why)
	if initial {
		delay := int64(m.cfg.InitialRebalanceDelayMs)
		m.setJoinTimer(g, initialRebalance, delay)
		g.joinTimer.delayMs = delay
		g.joinTimer.remainingMs = max(g.rebalanceTimeoutMs()-delay, 0)
		g.newMemberAdded = false
		return
	}
	if g.allJoined() {
		m.completeJoin(g)
		return
	}
	m.setJoinTimer(g, joinPhase, g.rebalanceTimeoutMs())
}

func (m *Machine) setJoinTimer(g *group, kind timerKind, delayMs int64) {
	m.timers.cancel(&g.joinTimer)
	g.joinTimer.kind = kind
	m.timers.set(&g.joinTimer, m.now+delayMs)
}

// extendInitialRebalance runs when the delay of a first join phase ends. While
// members keep coming and the rebalance timeout allows, it is run again
// (KIP-134).
func (m *Machine) extendInitialRebalance(t *timer) {
	g := t.group
	if !g.newMemberAdded || t.remainingMs == 0 {
		m.completeJoin(g)
		return
	}
	g.newMemberAdded = false
	delay := min(int64(m.cfg.InitialRebalanceDelayMs), t.remainingMs)
	remaining := max(t.remainingMs-t.delayMs, 0)
	m.setJoinTimer(g, initialRebalance, delay)
	t.delayMs, t.remainingMs = delay, remaining
}

// completeJoin ends the join phase: members that did not come are out (static
// ones stay until their session ends), the generation goes up, and the others
// are answered and have the rebalance timeout to sync.
func (m *Machine) completeJoin(g *group) {
	m.timers.cancel(&g.joinTimer)
	if g.state != PreparingRebalance {
		return
	}
	var gone []string
	for _, mem := range slices.Clone(g.order) {
		if mem.join == 0 && !mem.isStatic() {
			gone = append(gone, mem.id)
			m.dropMember(g, mem)
		}
	}
	if len(gone) > 0 {
		m.logf("group %s: removed members that have not joined: %s", g.id, strings.Join(gone, ", "))
	}
	if !g.electJoinedLeader() && len(g.members) > 0 {
		// Only silent static members are left. Their sessions will end, or one
		// of them will come; try again then or after another timeout.
		m.logf("group %s: nobody rejoined; waiting for the sessions of its static members", g.id)
		m.setJoinTimer(g, joinPhase, max(g.rebalanceTimeoutMs(), 1))
		return
	}
	g.nextGeneration(m.now)
	if g.state == Empty {
		m.logf("group %s: generation %d is empty", g.id, g.generation)
		// If this fails, the last written generation comes back after a
		// failover and its members time out: nothing is lost.
		m.append(nil, []Record{groupRecord(g, nil)}, true, func(code int16) {
			if code != none && !m.unloaded {
				m.logf("group %s: cannot write that generation %d is empty: error %d", g.id, g.generation, code)
			}
		})
		return
	}
	m.logf("group %s: generation %d has %d members, protocol %s, leader %s", g.id, g.generation, len(g.members), g.protocolName(), g.leader)
	for _, mem := range g.order {
		m.answerJoin(g, mem, m.joinedResponse(g, mem))
		m.extendSession(mem)
		mem.isNew = false
		g.pendingSync[mem.id] = struct{}{}
	}
	g.syncTimer.generation = g.generation
	m.timers.cancel(&g.syncTimer)
	m.timers.set(&g.syncTimer, m.now+g.rebalanceTimeoutMs())
}

// extendSession gives a member another session timeout.
func (m *Machine) extendSession(mem *member) {
	m.timers.set(&mem.session, m.now+int64(mem.sessionTimeoutMs))
}

// expireSession removes a member, or an id handed out, that was not heard of.
func (m *Machine) expireSession(t *timer) {
	g := t.group
	if g.isPending(t.memberID) {
		delete(g.pendingJoin, t.memberID)
		m.logf("group %s: pending member %s did not come back in its session timeout", g.id, t.memberID)
		m.completeEvenInitial(g)
		return
	}
	mem := g.members[t.memberID]
	if mem == nil || mem.heartbeatSatisfied() {
		return
	}
	m.logf("group %s: member %s has failed, removing it", g.id, mem.id)
	m.dropMember(g, mem)
	switch g.state {
	case Stable, CompletingRebalance:
		m.rebalanceOrComplete(g, fmt.Sprintf("member %s expired", mem.id))
	case PreparingRebalance:
		m.completeEvenInitial(g)
	}
}

// completeEvenInitial ends a join phase that only waited for someone who is
// gone now, the first one of a group too, as Kafka does on expiry.
func (m *Machine) completeEvenInitial(g *group) {
	if g.state == PreparingRebalance && g.allJoined() {
		m.completeJoin(g)
	}
}

// expireSync removes the members that joined this generation and then did not
// send SyncGroup within the rebalance timeout.
func (m *Machine) expireSync(t *timer) {
	g := t.group
	if t.generation != g.generation || len(g.pendingSync) == 0 ||
		g.state != CompletingRebalance && g.state != Stable {
		return
	}
	var gone []string
	for _, mem := range slices.Clone(g.order) {
		if _, ok := g.pendingSync[mem.id]; ok {
			gone = append(gone, mem.id)
			m.dropMember(g, mem)
		}
	}
	m.prepareRebalance(g, fmt.Sprintf("members that have not synced: %s", strings.Join(gone, ", ")))
}
