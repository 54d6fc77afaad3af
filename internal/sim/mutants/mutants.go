package main

// edit replaces text in one file of the module. old stands there exactly once.
type edit struct {
	file     string
	old, new string
}

// mutant is one known way to break the code.
type mutant struct {
	name  string
	what  string // what is wrong, in a sentence
	edits []edit
}

// mutants are the seeded bugs.
var mutants = []mutant{
	{"skip-fsync", "flush.messages=1 does not sync before it answers", []edit{
		{"storage/log.go", "return every == 1 || l.nextOffset", "return every < 0 || every > 1 && l.nextOffset"},
	}},
	{"fsync-error-ignored", "a failed fsync counts as done, and the next one is believed", []edit{
		{"internal/sim/replica.go", "if err := reserved.Segment.WriteFile().Sync(); err != nil {",
			"if err := reserved.Segment.WriteFile().Sync(); err != nil && false {"},
	}},
	{"failed-sync-forgotten", "a start after a failed fsync takes the page cache for the disk", []edit{
		{"storage/log_manager.go", "	m.readNotes()\n", ""},
	}},
	{"ack-before-replicated", "acks=all is answered when the leader has the records", []edit{
		{"internal/sim/replica.go", "replicated := acks == acksAll && !role.Solo", "replicated := false"},
	}},
	{"follower-acks-early", "a follower answers before its write has ended", []edit{
		{"internal/sim/follower.go", "	result.LogEndOffset, result.LastEpoch = end, r.log.LatestEpoch()\n",
			"	result.LogEndOffset, result.LastEpoch = end, r.log.LatestEpoch()\n	if open > 1 {\n		early := result\n		done(early)\n		done = func(isr.PushResult) {}\n	}\n"},
	}},
	{"truncate-to-high-watermark", "a new follower cuts its log to its high watermark, as before KIP-101", []edit{
		{"internal/sim/roles.go", "			if led {\n				r.ledNoMore()\n			}\n		}\n	}\n}",
			"			if led {\n				r.ledNoMore()\n			}\n			r.whenDrained(func() { _, _ = r.log.TruncateTo(r.log.HighWatermark()) })\n		}\n	}\n}"},
	}},
	{"in-place-truncation", "a log is cut back in the file itself, not in a new one", []edit{
		{"storage/log_truncate.go", "	if err := l.fs.Rename(s.path(logSuffix+tmpSuffix), s.path(logSuffix)); err != nil {\n		return nil, err\n	}\n",
			"	file, err := l.fs.Open(s.path(logSuffix), vfs.ReadWrite)\n	if err != nil {\n		return nil, err\n	}\n" +
				"	if err := errors.Join(file.Truncate(size), file.Sync(), file.Close()); err != nil {\n		return nil, err\n	}\n"},
	}},
	{"logs-agree-by-length", "a follower's log counts as the leader's when it is no longer, whatever its epochs", []edit{
		{"replication/isr/sender.go", "if epoch == r.LastEpoch && r.LogEndOffset <= offset {", "if r.LogEndOffset <= max(end, offset) {"},
		{"replication/isr/follow.go", "if p.Offset < end || last >= 0 && p.Epoch >= 0 && last != p.Epoch {", "if p.Offset < end {"},
	}},
	{"epoch-fence-ignored", "a follower takes what an older leader sends", []edit{
		{"replication/isr/follow.go", "if p.LeaderEpoch < epoch {", "if p.LeaderEpoch < epoch && p.LeaderEpoch < 0 {"},
		{"internal/sim/follower.go", "	case role.LeaderEpoch > p.LeaderEpoch:\n		return nil, nil, isr.CodeFencedLeaderEpoch\n	case role.Leads || role.LeaderID != in.from:",
			"	case role.Leads && p.LeaderEpoch < 0:"},
		{"storage/log.go", "l.leaderEpoch = max(l.leaderEpoch, epoch)", "_ = epoch"},
	}},
	{"early-buffer-reuse", "a receive buffer is used again while its records are being written", []edit{
		{"internal/sim/follower.go", "	in.ended(rp)\n	return true\n", "	in.ended(rp)\n	recycle(body)\n	return true\n"},
	}},
	{"base-offset-unchecked", "a follower appends wherever its leader says, without looking where its log ends", []edit{
		{"replication/isr/follow.go", "if p.Offset < end || last >= 0 && p.Epoch >= 0 && last != p.Epoch {", "if p.Offset < 0 {"},
		{"internal/sim/follower.go", "if action == isr.Accept && offset != r.log.ReservedEndOffset() {", "if action == isr.Accept && offset < 0 {"},
		{"replication/isr/sender.go", "	if epoch == r.LastEpoch && r.LogEndOffset <= offset {\n		return s.agreed(r)\n	}\n",
			"	if epoch == r.LastEpoch && r.LogEndOffset <= offset {\n		after := *r\n		after.LogEndOffset = end\n		return s.agreed(&after)\n	}\n"},
	}},
	{"high-watermark-without-isr", "the high watermark does not wait for the in-sync replicas", []edit{
		{"replication/isr/leader.go", "if r.logEnd < l.logEnd && (r.inISR || r.proposed || !r.left && l.caughtUp(r) && l.eligible(r.id)) {", "if r.logEnd < l.logEnd && r.proposed {"},
	}},
	{"high-watermark-below-min-isr", "the high watermark moves below min.insync.replicas, as before KIP-966", []edit{
		{"replication/isr/leader.go", "func (l *Leader) advance() {\n	if l.UnderMinISR() {\n		return\n	}\n", "func (l *Leader) advance() {\n"},
	}},
	{"isr-shrinks-alone", "a leader drops a follower from the ISR before the controller has agreed", []edit{
		{"replication/isr/leader.go", "	l.proposed++\n", "	if len(isr) < len(l.isr) {\n		l.commit(isr)\n	}\n	l.proposed++\n"},
	}},
	{"joins-isr-behind", "a follower joins the ISR before it has reached the high watermark", []edit{
		{"replication/isr/leader.go", "if r.inISR || r.logEnd < l.highWatermark || r.logEnd < l.epochStart || r.id != heard && (r.left || !l.caughtUp(r)) ||",
			"if r.inISR || r.logEnd < 0 ||"},
	}},
	{"election-outside-isr", "any live replica may be elected", []edit{
		{"metadata/partition_change.go", "return (slices.Contains(c.isr, id) || len(c.isr) == 0 && slices.Contains(c.elr, id)) && c.acceptable(id)", "return c.acceptable(id)"},
	}},
	{"unclean-restart-stays-eligible", "a broker that lost what it had not synced stays electable", []edit{
		{"metadata/registration.go", "return old != nil && r.PreviousBrokerEpoch >= 0 && old.keptEverything(r.PreviousBrokerEpoch)", "return old != nil"},
	}},
	{"unsynced-topic-stays-eligible", "what was not synced counts as kept after a power loss", []edit{
		{"metadata/sweep.go", "if s.restarted >= 0 && !(s.synced && topic.Synced && ", "if s.restarted >= 0 && !(s.synced && "},
	}},
	{"shortest-log-leads", "after a power cut of all the shortest log is elected", []edit{
		{"metadata/recovery.go", "found.Leader == noLeader || order > 0 ||", "found.Leader == noLeader || order < 0 ||"},
	}},
	{"longest-log-not-waited-for", "after a power cut of all the first who reports is elected", []edit{
		{"metadata/recovery.go", "if len(found.Missing) > 0 && nowMs < open.deadlineMs {", "if len(found.Missing) > 0 && nowMs < 0 {"},
	}},
	{"stale-alter-partition", "the controller takes a change of the ISR that was asked for at older epochs, or with fenced brokers", []edit{
		{"metadata/alter_partition.go", "	case a.LeaderEpoch < p.LeaderEpoch:\n		return CodeFencedLeaderEpoch, \"the leader epoch is not the current one\"\n", ""},
		{"metadata/alter_partition.go", "	case a.PartitionEpoch < p.PartitionEpoch:\n		return CodeInvalidUpdateVersion, \"the partition epoch is not the current one\"\n", ""},
		{"metadata/alter_partition.go", "case m.Epoch >= 0 && m.Epoch != b.Epoch:", "case m.Epoch < -2:"},
		{"metadata/alter_partition.go", "case b.Fenced:", "case b.Fenced && b.ID < 0:"},
	}},
	{"sequences-forgotten-at-failover", "a follower does not keep the producers' sequences of what it replicates", []edit{
		{"storage/log.go", "	l.takeLocked(seg, b, marker, config, res)\n",
			"	known := l.producers\n	if req.Origin == OriginReplication {\n		l.producers = newProducerState(0)\n	}\n" +
				"	l.takeLocked(seg, b, marker, config, res)\n	known.mapEndOffset = l.producers.mapEndOffset\n	l.producers = known\n"},
	}},
	{"vote-forgotten", "a controller that restarts knows neither its term nor for whom it voted", []edit{
		{"internal/sim/quorum.go", "	state := m.state\n", "	state := m.state\n	state.Hard.Vote, state.Hard.Term = 0, state.FirstTerm\n" +
			"	if n := len(state.Entries); n > 0 {\n		state.Hard.Term = state.Entries[n-1].GetTerm()\n	}\n"},
	}},
	{"quorum-answers-before-durable", "a controller acknowledges entries that are not on its disk", []edit{
		{"internal/sim/node.go", "	p.sched.after(d/2, func() {\n", "	p.sched.after(d/100, func() { p.run(func() { done(w) }) })\n	p.sched.after(d, func() {\n"},
		{"internal/sim/node.go", "		m.queue = m.queue[1:]\n		p.run(func() { done(w) })\n", "		m.queue = m.queue[1:]\n"},
	}},
	{"apply-before-commit", "the active controller shows changes that are not committed", []edit{
		{"metadata/quorum/core_apply.go", "	c.head = next\n	// Read", "	c.head = next\n	c.image, c.effects.Image = next, next\n	// Read"},
	}},
	{"group-commit-acked-early", "an offset commit is answered when the coordinator's leader alone has it", []edit{
		{"internal/sim/coordinator.go", "r.produce(batch, acksAll, 1500,", "r.produce(batch, 1, 1500,"},
	}},
	{"coordinator-skips-load", "a new coordinator starts without what its log says", []edit{
		{"internal/sim/coordinator.go", "data, err := r.bytesBelow(r.log.LogEndOffset())", "data, err := r.bytesBelow(r.log.LogStartOffset())"},
	}},
	{"crc-unchecked-at-recovery", "recovery takes batches whose CRC is wrong", []edit{
		{"storage/recovery.go", "if crc != header.CRC() {", "if crc != header.CRC() && crc == 0 {"},
	}},
	{"stale-epochs-at-recovery", "recovery takes leader epochs from the checkpoint whose records were cut off", []edit{
		{"storage/loader_recover.go", "	epochs.truncateFromEnd(ld.recoveryPoint)\n", ""},
	}},
	{"offset-unchecked-at-recovery", "recovery takes batches whose base offset, which no CRC covers, is wrong", []edit{
		{"storage/recovery_chain.go", "case h.baseOffset < c.next || r.contiguous && h.baseOffset != c.next:", "case h.baseOffset < c.next && h.baseOffset < r.baseOffset:"},
	}},
}
