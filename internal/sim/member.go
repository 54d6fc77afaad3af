package sim

import "freshet/metadata"

// member is this broker's membership in the cluster: registered with an epoch,
// fenced until it has caught up, kept alive by heartbeats, and taken out of the
// leaderships before it stops (broker/controller_lifecycle.go).
type member struct {
	b             *broker
	incarnation   metadata.UUID
	previousEpoch int64
	syncedEpoch   int64
	wantShutdown  bool
	released      func()
	unfenced      bool
	beats         int // the newest heartbeat
}

const memberRetry = 50 * millisecond

func newMember(b *broker) *member {
	return &member{b: b, incarnation: metadata.RandomUUID(), previousEpoch: -1, syncedEpoch: -1}
}

// begin registers, again and again until it is done.
func (m *member) begin() {
	r := metadata.Registration{
		ClusterID: clusterID, BrokerID: m.b.node.id, IncarnationID: m.incarnation, Dirs: []metadata.UUID{uuid(m.b.node.dirID)},
		Endpoints:           []metadata.Endpoint{{Listener: "PLAINTEXT", Host: m.b.node.String(), Port: 9092, Security: "PLAINTEXT"}},
		Features:            metadata.SupportedFeatures(),
		PreviousBrokerEpoch: m.previousEpoch,
		SyncedBrokerEpoch:   m.syncedEpoch,
	}
	m.b.ask(registration{r}, func(body any) {
		a, ok := body.(registrationAnswer)
		if !ok || a.code != codeNone {
			m.b.proc.after(memberRetry, m.begin)
			return
		}
		m.await(a.epoch)
	})
}

// await waits until the own image shows the registration.
func (m *member) await(epoch int64) {
	if m.b.image().Index < epoch {
		m.b.proc.after(5*millisecond, func() { m.await(epoch) })
		return
	}
	m.b.registered(epoch)
	m.beat()
}

// beat sends heartbeats from now on.
func (m *member) beat() {
	m.beats++
	beat := m.beats
	b := m.b
	sent := b.monotonicMs()
	next := func(d Time) {
		b.proc.after(d, func() {
			if m.beats == beat {
				m.beat()
			}
		})
	}
	r := metadata.HeartbeatRequest{BrokerID: b.node.id, BrokerEpoch: b.epoch, CurrentMetadataOffset: b.image().Index,
		WantShutDown: m.wantShutdown}
	b.ask(heartbeat{r, b.leaderlessLogs()}, func(body any) {
		a, ok := body.(heartbeatAnswer)
		switch {
		case m.beats != beat:
			return
		case !ok || a.code != codeNone && a.code != codeStaleBrokerEpoch:
			next(memberRetry)
			return
		case a.code == codeStaleBrokerEpoch:
			b.tracef("the controller does not know this registration any more")
			m.begin()
			return
		}
		m.note(a.reply, sent)
		switch {
		case m.wantShutdown && !a.reply.ShouldShutDown:
			next(memberRetry)
		case a.reply.IsFenced:
			next(20 * millisecond)
		default:
			next(heartbeatIntervalMs * millisecond)
		}
	})
}

// note takes over what the controller said.
func (m *member) note(r metadata.HeartbeatReply, sentMs int64) {
	if !r.IsFenced {
		if sentMs >= m.b.cutMs {
			m.b.leaseMs = sentMs + sessionTimeoutMs
		}
		if !m.unfenced {
			m.b.tracef("is unfenced")
		}
		m.unfenced = true
	} else if m.unfenced {
		m.unfenced = false
		m.b.tracef("is fenced")
	}
	if r.ShouldShutDown && m.wantShutdown && m.released != nil {
		released := m.released
		m.released = nil
		released()
	}
}

// cutOff hears that this node was the active controller, and that no majority of
// the controllers answers it: it leads no longer than the next one waits for it.
func (b *broker) cutOff() {
	b.cutMs = b.monotonicMs()
	b.leaseMs = min(b.leaseMs, b.cutMs+disconnectGraceMs)
}

// leave asks the controller to move this broker's leaderships elsewhere; done
// is called when it may stop, or has waited long enough.
func (m *member) leave(done func()) {
	if !m.unfenced {
		done()
		return
	}
	m.wantShutdown = true
	m.released = done
	m.beat()
	m.b.proc.after(5*second, func() {
		if m.released != nil {
			m.b.tracef("stops although it may still lead")
			m.released = nil
			done()
		}
	})
}
