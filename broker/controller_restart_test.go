package broker

import "testing"

// Two controllers of which both are needed: one that is killed and started again
// finds a controller that became active only with its vote, or is the active one
// itself. Nobody who decides has seen its last process end, whose session lasts
// on; still it need not wait for that.
func TestClusterTakesARestartedControllerBack(t *testing.T) {
	g := newGroup3(t, "broker.session.timeout.ms", "120000", "initial.broker.registration.timeout.ms", "15000")
	g.roles[3] = "broker"
	g.start(1, 2)
	for _, active := range []bool{true, false, true} {
		victim := g.controller()
		if !active {
			victim = 3 - victim
		}
		g.kill(victim)
		g.start(victim)
		img := g.nodes[victim].meta.Image()
		if b := img.Broker(victim); b == nil || b.Fenced || b.IncarnationID != g.nodes[victim].incarnation {
			t.Errorf("node %d came back as %+v", victim, b)
		}
	}
}
