package group

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// TestMachineProperties sends random requests, times, append outcomes and
// changes of leadership to a Machine and checks after each:
//
//   - the invariants written at type group;
//   - each request is answered once, and all are once time passes and appends
//     complete;
//   - a SyncGroup is answered with an assignment only if that assignment, for
//     that generation, is in the log;
//   - the generations of a group in the log never go back (a group that was
//     deleted starts again);
//   - committed offsets are exactly those of the log.
func TestMachineProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newProperty(t)
		t.Repeat(map[string]func(*rapid.T){
			"join":          p.join,
			"rejoin":        p.rejoin,
			"sync":          p.sync,
			"heartbeat":     p.heartbeat,
			"leave":         p.leave,
			"commit":        p.commit,
			"fetch":         p.fetch,
			"deleteGroup":   p.deleteGroup,
			"deleteOffsets": p.deleteOffsets,
			"appended":      p.appended,
			"appended2":     p.appended,
			"advance":       p.advance,
			"failover":      p.failover,
			"":              p.check,
		})
		p.settle(t)
	})
}

type issued struct {
	body     kmsg.Request
	answered bool
}

type property struct {
	m       *Machine
	cfg     Config
	now     int64
	token   Token
	issued  map[Token]*issued
	appends []Effect
	log     []Record
	ids     map[string][]string // member ids handed out, by group
	failed  bool                // an append failed: groups may differ from the log
	written map[string]int32    // the last generation in the log, by group
}

func newProperty(t *rapid.T) *property {
	p := &property{cfg: DefaultConfig(), issued: map[Token]*issued{}, ids: map[string][]string{}, written: map[string]int32{}}
	p.cfg.InitialRebalanceDelayMs = rapid.SampledFrom([]int32{0, 3000}).Draw(t, "delay")
	p.cfg.MaxSize = rapid.SampledFrom([]int{2, 100}).Draw(t, "maxSize")
	p.m = NewMachine(p.cfg)
	p.step(t, Loaded{})
	return p
}

func (p *property) step(t *rapid.T, ev Event) {
	for _, e := range slices.Clone(p.m.Step(p.now, ev)) {
		switch e.Kind {
		case Append:
			if len(e.Records) == 0 {
				t.Fatalf("append %d has no records", e.ID)
			}
			p.appends = append(p.appends, e)
		case Reply:
			is := p.issued[e.Token]
			if is == nil || is.answered {
				t.Fatalf("request %d is answered twice or was never made", e.Token)
			}
			is.answered = true
			p.answer(t, is.body, e.Response)
		}
	}
}

func (p *property) request(t *rapid.T, body kmsg.Request) {
	p.token++
	p.issued[p.token] = &issued{body: body}
	p.step(t, Request{Token: p.token, Body: body, ClientID: "c", ClientHost: "/h", UUID: fmt.Sprint(p.token)})
}

// answer checks a response against the log.
func (p *property) answer(t *rapid.T, body kmsg.Request, resp kmsg.Response) {
	switch r := resp.(type) {
	case *kmsg.JoinGroupResponse:
		group := body.(*kmsg.JoinGroupRequest).Group
		if r.MemberID != "" && !slices.Contains(p.ids[group], r.MemberID) {
			p.ids[group] = append(p.ids[group], r.MemberID)
		}
	case *kmsg.SyncGroupResponse:
		if r.ErrorCode != none {
			return
		}
		req := body.(*kmsg.SyncGroupRequest)
		for i := len(p.log) - 1; i >= 0; i-- {
			d, err := decodeRecord(p.log[i].Key, p.log[i].Value)
			if err != nil {
				t.Fatal(err)
			}
			if d.isOffset || d.groupID != req.Group {
				continue
			}
			for _, mem := range d.group.Members {
				if mem.MemberID == req.MemberID && d.group.Generation == req.Generation && bytes.Equal(mem.Assignment, r.MemberAssignment) {
					return
				}
			}
			break
		}
		t.Fatalf("%s got an assignment of generation %d of %s that is not the last one in the log", req.MemberID, req.Generation, req.Group)
	}
}

func (p *property) group(t *rapid.T) string {
	return rapid.SampledFrom([]string{"g", "h"}).Draw(t, "group")
}

func (p *property) member(t *rapid.T, group string) string {
	return rapid.SampledFrom(append([]string{"nobody"}, p.ids[group]...)).Draw(t, "member")
}

func (p *property) instance(t *rapid.T) *string {
	return rapid.SampledFrom([]*string{nil, nil, kmsg.StringPtr("i"), kmsg.StringPtr("j")}).Draw(t, "instance")
}

// instanceOf is the instance id of a live static member, so that requests of
// static members are often valid.
func (p *property) instanceOf(t *rapid.T, group, id string) *string {
	if g := p.m.groups[group]; g != nil && g.members[id] != nil {
		return g.members[id].instanceID
	}
	return p.instance(t)
}

func (p *property) generation(t *rapid.T, group string) int32 {
	g := p.m.groups[group]
	if g == nil {
		return rapid.Int32Range(-1, 3).Draw(t, "generation")
	}
	return g.generation + rapid.SampledFrom([]int32{0, 0, 0, 0, -1, 1}).Draw(t, "generation")
}

func (p *property) joinRequest(t *rapid.T, group string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version = rapid.SampledFrom([]int16{0, 3, 5, 8, 9}).Draw(t, "version")
	r.Group = group
	r.ProtocolType = rapid.SampledFrom([]string{"consumer", "consumer", "consumer", "connect", ""}).Draw(t, "type")
	r.SessionTimeoutMillis = rapid.SampledFrom([]int32{6000, 30000}).Draw(t, "session")
	r.RebalanceTimeoutMillis = rapid.SampledFrom([]int32{-1, 0, 5000, 60000}).Draw(t, "rebalance")
	for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"range", "range", "sticky", "other"}), 0, 3).Draw(t, "protocols") {
		r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: metadataBytes("topics(a)")})
	}
	return r
}

func (p *property) join(t *rapid.T) {
	r := p.joinRequest(t, p.group(t))
	r.InstanceID = p.instance(t)
	p.request(t, r)
}

func (p *property) rejoin(t *rapid.T) {
	r := p.joinRequest(t, p.group(t))
	r.MemberID = p.member(t, r.Group)
	r.InstanceID = p.instanceOf(t, r.Group, r.MemberID)
	if g := p.m.groups[r.Group]; g != nil && g.members[r.MemberID] != nil && rapid.Bool().Draw(t, "same") {
		r.ProtocolType, r.Protocols = g.protocolType, nil
		for _, pr := range g.members[r.MemberID].protocols {
			r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: pr.name, Metadata: pr.metadata})
		}
	}
	p.request(t, r)
}

func (p *property) sync(t *rapid.T) {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Group = p.group(t)
	r.MemberID = p.member(t, r.Group)
	r.InstanceID = p.instanceOf(t, r.Group, r.MemberID)
	r.Generation = p.generation(t, r.Group)
	for _, id := range p.ids[r.Group] {
		if rapid.Bool().Draw(t, "assigned") {
			r.GroupAssignment = append(r.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
				MemberID: id, MemberAssignment: []byte(fmt.Sprint(id, "@", p.token)),
			})
		}
	}
	p.request(t, r)
}

func (p *property) heartbeat(t *rapid.T) {
	r := kmsg.NewPtrHeartbeatRequest()
	r.Group = p.group(t)
	r.MemberID = p.member(t, r.Group)
	r.InstanceID = p.instanceOf(t, r.Group, r.MemberID)
	r.Generation = p.generation(t, r.Group)
	p.request(t, r)
}

func (p *property) leave(t *rapid.T) {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Version = rapid.SampledFrom([]int16{1, 5}).Draw(t, "version")
	r.Group = p.group(t)
	r.MemberID = p.member(t, r.Group)
	for range rapid.IntRange(0, 2).Draw(t, "members") {
		l := kmsg.LeaveGroupRequestMember{MemberID: p.member(t, r.Group), InstanceID: p.instance(t)}
		if rapid.Bool().Draw(t, "by instance") {
			l.MemberID = ""
		}
		r.Members = append(r.Members, l)
	}
	p.request(t, r)
}

func (p *property) commit(t *rapid.T) {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version = rapid.SampledFrom([]int16{3, 8, 9}).Draw(t, "version")
	r.RetentionTimeMillis = rapid.SampledFrom([]int64{-1, 1000}).Draw(t, "retention")
	r.Group = p.group(t)
	r.Generation = -1
	if rapid.Bool().Draw(t, "as member") {
		r.MemberID = p.member(t, r.Group)
		r.InstanceID = p.instanceOf(t, r.Group, r.MemberID)
		r.Generation = p.generation(t, r.Group)
	}
	topic := kmsg.OffsetCommitRequestTopic{Topic: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "topic")}
	for range rapid.IntRange(0, 3).Draw(t, "partitions") {
		topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitRequestTopicPartition{
			Partition: rapid.Int32Range(0, 2).Draw(t, "partition"), Offset: int64(p.token), LeaderEpoch: -1,
		})
	}
	r.Topics = append(r.Topics, topic)
	p.request(t, r)
}

func (p *property) fetch(t *rapid.T) {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Version = 9
	r.RequireStable = rapid.Bool().Draw(t, "stable")
	for _, group := range []string{"g", "h"} {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = group
		r.Groups = append(r.Groups, g)
	}
	p.request(t, r)
}

func (p *property) deleteGroup(t *rapid.T) {
	p.request(t, &kmsg.DeleteGroupsRequest{Version: 2, Groups: []string{p.group(t), p.group(t)}})
}

func (p *property) deleteOffsets(t *rapid.T) {
	r := kmsg.NewPtrOffsetDeleteRequest()
	r.Group = p.group(t)
	r.Topics = []kmsg.OffsetDeleteRequestTopic{{
		Topic:      rapid.SampledFrom([]string{"a", "b"}).Draw(t, "topic"),
		Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 1}},
	}}
	p.request(t, r)
}

func (p *property) appended(t *rapid.T) {
	if len(p.appends) == 0 {
		t.Skip("nothing is being appended")
	}
	e := p.appends[0]
	p.appends = p.appends[1:]
	if rapid.IntRange(0, 9).Draw(t, "outcome") == 0 {
		p.failed = true
		p.step(t, Appended{ID: e.ID, Err: kerr.NotEnoughReplicas})
		return
	}
	p.write(t, e.Records)
	p.step(t, Appended{ID: e.ID})
}

// write appends to the log and checks that generations do not go back.
func (p *property) write(t *rapid.T, records []Record) {
	p.log = append(p.log, records...)
	for _, r := range records {
		d, err := decodeRecord(r.Key, r.Value)
		if err != nil {
			t.Fatal(err)
		}
		if d.isOffset {
			continue
		}
		if d.tombstone {
			delete(p.written, d.groupID)
			continue
		}
		if d.group.Generation < p.written[d.groupID] && !p.failed {
			t.Fatalf("group %s writes generation %d after %d", d.groupID, d.group.Generation, p.written[d.groupID])
		}
		p.written[d.groupID] = d.group.Generation
	}
}

func (p *property) advance(t *rapid.T) {
	end := p.now + rapid.SampledFrom([]int64{1, 1000, 5000, 60000, 700000}).Draw(t, "ms")
	p.pass(t, end)
}

func (p *property) pass(t *rapid.T, end int64) {
	for n := 0; p.m.NextDeadline() <= end; n++ {
		if n > 100000 {
			t.Fatal("timers fire without end")
		}
		p.now = max(p.now, p.m.NextDeadline())
		p.step(t, Tick{})
	}
	p.now = end
}

// failover moves the partition: everything that waits is answered, and the new
// leader knows what the log says.
func (p *property) failover(t *rapid.T) {
	old := p.m
	p.step(t, Unload{})
	p.allAnswered(t)
	inflight := len(p.appends) > 0
	p.appends = nil
	p.m = p.replay(t)
	p.compare(t, old, p.m, !inflight && !p.failed)
	p.failed = false
	p.step(t, Loaded{})
}

func (p *property) replay(t *rapid.T) *Machine {
	m := NewMachine(p.cfg)
	m.now = p.now
	for i, r := range p.log {
		if _, err := m.Replay(int64(i), noProducerID, r); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// compare checks that a replayed Machine has the offsets of the live one, and
// its groups as far as they were written.
func (p *property) compare(t *rapid.T, live, loaded *Machine, groups bool) {
	a, b := offsetsText(live), offsetsText(loaded)
	if a != b {
		t.Fatalf("offsets differ:\nlive\n%s\nloaded\n%s", a, b)
	}
	if !groups {
		return
	}
	for id, g := range live.groups {
		state := g.state
		if state == Dead {
			state = g.previous
		}
		l := loaded.groups[id]
		if l == nil {
			t.Fatalf("group %s in state %v is not in the log", id, state)
		}
		if state == Stable && membersText(g) != membersText(l) {
			t.Fatalf("group %s differs:\nlive\n%s\nloaded\n%s", id, membersText(g), membersText(l))
		}
		if l.generation > g.generation {
			t.Fatalf("group %s is at generation %d, its log at %d", id, g.generation, l.generation)
		}
	}
}

func offsetsText(m *Machine) string {
	text := ""
	for _, id := range sortedKeys(m.offsets) {
		m.offsets[id].eachOffset(func(topic string, partition int32, e *offsetEntry) {
			if e.present {
				text += fmt.Sprintln(id, topic, partition, e.value)
			}
		})
	}
	return text
}

func membersText(g *group) string {
	text := fmt.Sprintln(g.generation, g.protocolType, g.protocolName(), g.leader)
	for _, id := range sortedKeys(g.members) {
		mem := g.members[id]
		rebalance := mem.rebalanceTimeoutMs
		if rebalance == -1 {
			rebalance = mem.sessionTimeoutMs // as a record's -1 is read
		}
		text += fmt.Sprintf("%s %s %d %d %q %q\n", id, deref(mem.instanceID), mem.sessionTimeoutMs,
			rebalance, mem.metadata(g.protocolName()), mem.assignment)
	}
	return text
}

func (p *property) check(t *rapid.T) {
	for id, g := range p.m.groups {
		if err := g.check(p.m); err != nil {
			t.Fatalf("group %s in state %v: %v", id, g.state, err)
		}
	}
	for id, o := range p.m.offsets {
		inflight := 0
		o.eachOffset(func(_ string, _ int32, e *offsetEntry) { inflight += int(e.inflight) })
		if inflight != o.inflight {
			t.Fatalf("group %s has %d offsets in flight and counts %d", id, inflight, o.inflight)
		}
	}
	if a, b := offsetsText(p.m), offsetsText(p.replay(t)); a != b {
		t.Fatalf("offsets differ from the log:\nlive\n%s\nlog\n%s", a, b)
	}
}

// check verifies the invariants written at type group.
func (g *group) check(m *Machine) error {
	awaiting, supported := 0, map[string]int{}
	for _, mem := range g.order {
		if g.members[mem.id] != mem || mem.isStatic() && g.static[*mem.instanceID] != mem {
			return fmt.Errorf("member %s is not indexed", mem.id)
		}
		if g.isPending(mem.id) {
			return fmt.Errorf("member %s is also pending", mem.id)
		}
		if mem.join != 0 {
			awaiting++
		}
		for _, pr := range mem.protocols {
			supported[pr.name]++
		}
		if mem.sync != 0 && g.state != CompletingRebalance {
			return fmt.Errorf("member %s waits for an assignment", mem.id)
		}
		if mem.session.index < 0 && !mem.heartbeatSatisfied() {
			return fmt.Errorf("nobody watches member %s", mem.id)
		}
	}
	switch {
	case len(g.members) != len(g.order):
		return fmt.Errorf("%d members in order, %d by id", len(g.order), len(g.members))
	case awaiting != g.awaitingJoin:
		return fmt.Errorf("%d members await a join, %d are counted", awaiting, g.awaitingJoin)
	case !maps.Equal(supported, g.supported):
		return fmt.Errorf("supported protocols %v are counted as %v", supported, g.supported)
	case (g.leader != "") != (len(g.members) > 0), g.leader != "" && g.members[g.leader] == nil:
		return fmt.Errorf("leader %q of %d members", g.leader, len(g.members))
	case g.state == Empty && len(g.members) > 0:
		return fmt.Errorf("%d members", len(g.members))
	case g.state == PreparingRebalance && g.joinTimer.index < 0:
		return fmt.Errorf("no timer ends the join phase")
	case m.groups[g.id] != g:
		return fmt.Errorf("not the group of its id")
	}
	return nil
}

func (p *property) allAnswered(t *rapid.T) {
	for token, is := range p.issued {
		if !is.answered {
			t.Fatalf("request %d, %T, is never answered", token, is.body)
		}
	}
}

// settle lets all appends succeed and two hours pass: then nothing may wait.
func (p *property) settle(t *rapid.T) {
	for range 100 {
		for len(p.appends) > 0 {
			e := p.appends[0]
			p.appends = p.appends[1:]
			p.write(t, e.Records)
			p.step(t, Appended{ID: e.ID})
		}
		p.pass(t, p.now+72000)
	}
	p.allAnswered(t)
	p.check(t)
}
