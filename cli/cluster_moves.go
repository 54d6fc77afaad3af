package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"freshet/cli/placement"
)

// moveFlags are the flags of the commands that move replicas.
type moveFlags struct {
	dryRun, yes, cancel bool
	throttle            string
	atOnce              int
	out                 outputFlag
}

func (f *moveFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&f.dryRun, "dry-run", false, "show the plan and move nothing")
	fs.BoolVarP(&f.yes, "yes", "y", false, "begin without asking")
	fs.BoolVar(&f.cancel, "cancel", false, "stop the moves under way, go back to the replicas from before, remove their throttles")
	fs.StringVar(&f.throttle, "throttle", "", "the most that moves may take on each broker, such as 50MB/s or 10MiB/s; no limit when left out")
	fs.IntVar(&f.atOnce, "at-once", 20, "how many partitions move at the same time")
	f.out.register(cmd)
}

// throttleBytes is --throttle in bytes a second, 0 for none.
func (f *moveFlags) throttleBytes() (int64, error) {
	if f.throttle == "" {
		return 0, nil
	}
	n, err := parseByteRate(f.throttle)
	if err == nil && n < 1024 {
		err = errors.New("it is below 1 KiB/s, with which moves hardly end")
	}
	if err != nil {
		return 0, failf("cannot use --throttle %s: %v", f.throttle, err)
	}
	return n, nil
}

// parseByteRate reads 1000000, 50MB, 50MB/s or 10MiB/s.
func parseByteRate(text string) (int64, error) {
	word := strings.TrimSpace(strings.TrimSuffix(text, "/s"))
	digits := strings.TrimRight(word, "BbIiKkMmGgTt ")
	factor, ok := map[string]float64{"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}[strings.ToLower(strings.TrimSpace(word[len(digits):]))]
	n, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || n <= 0 {
		return 0, errors.New("give a number of bytes, or one with a unit such as 50MB/s or 10MiB/s")
	}
	return int64(n * factor), nil
}

// stuck reports whether a partition cannot be moved now: no broker that is up
// has records to copy from.
func (v *clusterView) stuck(p *partitionDetail) bool {
	return p.Leader < 0 && len(v.aliveOf(p.ISR)) == 0 && len(v.aliveOf(p.ELR)) == 0
}

// stuckText names the partitions that a plan leaves out, and what to do; empty
// when there are none. on, when not negative, is the broker that they are on.
func (v *clusterView) stuckText(on int32) string {
	var names []string
	for i := range v.Topics {
		t := &v.Topics[i]
		for n := range t.Partitions {
			if p := &t.Partitions[n]; v.stuck(p) && (on < 0 || containsID(p.Replicas, on)) {
				names = append(names, partitionKey{t.Name, p.Partition}.String())
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("Left out, because no broker that is up has their records: %s. Start the brokers that have them (freshet cluster health names them), "+
		"or give the records up: delete the topic, or elect another leader with kafka-leader-election.sh --election-type unclean.\n", named(names))
}

// placementInput is what the planner takes, with moves under way counted as
// done. Brokers that are not up hold replicas, but get none. Partitions that are
// stuck are left out.
func placementInput(v *clusterView) ([]placement.Broker, []placement.Partition) {
	var brokers []placement.Broker
	for i := range v.Brokers {
		b := &v.Brokers[i]
		if b.State != brokerUp {
			continue
		}
		_, disk, free := b.bytes()
		brokers = append(brokers, placement.Broker{ID: b.ID, Rack: b.Rack, DiskBytes: disk, FreeBytes: free})
	}
	sizes := map[partitionKey]int64{}
	for i := range v.Brokers {
		for _, d := range v.Brokers[i].Dirs {
			for key, n := range d.sizes {
				sizes[key] = max(sizes[key], n)
			}
		}
	}
	var partitions []placement.Partition
	for i := range v.Topics {
		t := &v.Topics[i]
		for n := range t.Partitions {
			p := &t.Partitions[n]
			if v.stuck(p) {
				continue
			}
			partitions = append(partitions, placement.Partition{Topic: t.Name, Partition: p.Partition,
				Replicas: v.target(t.Name, p), Bytes: sizes[partitionKey{t.Name, p.Partition}]})
		}
	}
	return brokers, partitions
}

// moveJob is a plan with everything needed to carry it out.
type moveJob struct {
	cmd     *cobra.Command
	a       *admin
	flags   *moveFlags
	view    *clusterView
	moves   []placement.Move
	ongoing map[partitionKey]reassignment // begun earlier, waited for as well
	elect   []partitionKey                // to be led by their preferred leader again, beside those moved
	leftOut string                        // about partitions that cannot be moved
	again   string                        // the command line that continues this job
	every   time.Duration                 // between looks
}

func moveKey(m *placement.Move) partitionKey { return partitionKey{m.Topic, m.Partition} }

// run shows the plan and, unless told otherwise, carries it out.
func (j *moveJob) run(ctx context.Context, nothing string) error {
	w := j.cmd.OutOrStdout()
	if j.flags.out.format == "json" {
		return j.writePlan(w)
	}
	fmt.Fprint(w, j.leftOut)
	if len(j.moves)+len(j.ongoing)+len(j.elect) == 0 {
		_, err := fmt.Fprintln(w, nothing)
		return err
	}
	if _, err := io.WriteString(w, planText(j.view, j.moves, len(j.ongoing), len(j.elect))); err != nil {
		return err
	}
	if j.flags.dryRun {
		_, err := fmt.Fprintln(w, "\nNothing was moved (--dry-run).")
		return err
	}
	if err := j.confirm(); err != nil {
		return err
	}
	return j.carryOut(ctx)
}

// writePlan prints the plan for programs, in the format that
// kafka-reassign-partitions.sh --execute reads.
func (j *moveJob) writePlan(w io.Writer) error {
	if !j.flags.dryRun {
		return failf("-o json shows the plan: give --dry-run with it")
	}
	parts := map[partitionKey][]int32{}
	for i := range j.moves {
		parts[moveKey(&j.moves[i])] = j.moves[i].To
	}
	_, err := fmt.Fprintln(w, reassignmentJSON(parts, nil))
	return err
}

// confirm asks, on a terminal.
func (j *moveJob) confirm() error {
	if j.flags.yes {
		return nil
	}
	if !isTerminal(j.cmd.InOrStdin()) {
		return failf("\nto carry this out without being asked, give --yes; to only see the plan, --dry-run")
	}
	fmt.Fprint(j.cmd.OutOrStdout(), "\nBegin? [y/N] ")
	line, _ := bufio.NewReader(j.cmd.InOrStdin()).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return failf("nothing was moved")
	}
	return nil
}

// planRows is how many moves a plan lists before it only counts.
const planRows = 20

// planText shows the moves and what they do to each broker.
func planText(v *clusterView, moves []placement.Move, ongoing, elect int) string {
	var b strings.Builder
	var bytes int64
	copies, orders := 0, 0
	t := newTable("PARTITION", "FROM", "TO", "COPY")
	for i := range moves {
		m := &moves[i]
		bytes += m.CopyBytes
		size := "order only"
		if fresh := without(m.To, m.From); len(fresh) > 0 || len(m.To) != len(m.From) {
			copies++
			size = byteText(m.CopyBytes)
		} else {
			orders++
		}
		if i < planRows {
			t.add(moveKey(m).String(), m.From, m.To, size)
		}
	}
	fmt.Fprintf(&b, "The plan: partitions to move: %d, with %s to copy; to get another preferred leader only: %d.\n", copies, byteText(bytes), orders)
	if ongoing > 0 {
		fmt.Fprintf(&b, "%d move%s %s under way already; the plan counts them as done.\n", ongoing, plural(ongoing), isOrAre(ongoing))
	}
	if elect > 0 {
		fmt.Fprintf(&b, "%d partition%s %s led by another than the preferred leader, which gets the lead back.\n", elect, plural(elect), isOrAre(elect))
	}
	if len(moves) == 0 {
		return b.String()
	}
	b.WriteString("\n" + t.String())
	if len(moves) > planRows {
		fmt.Fprintf(&b, "... and %d more (all of them: --dry-run -o json)\n", len(moves)-planRows)
	}
	b.WriteString("\n" + planEffect(v, moves).String())
	return b.String()
}

// planEffect is the brokers' replicas, preferred leaders and bytes before and
// after the moves.
func planEffect(v *clusterView, moves []placement.Move) *table {
	type change struct {
		replicas, leaders int
		bytes             int64
	}
	changes := map[int32]*change{}
	of := func(id int32) *change {
		if changes[id] == nil {
			changes[id] = &change{}
		}
		return changes[id]
	}
	for i := range moves {
		m := &moves[i]
		size := v.size(moveKey(m))
		for _, id := range without(m.From, m.To) {
			of(id).replicas--
			of(id).bytes -= size
		}
		for _, id := range without(m.To, m.From) {
			of(id).replicas++
			of(id).bytes += size
		}
		if len(m.From) > 0 && len(m.To) > 0 {
			of(m.From[0]).leaders--
			of(m.To[0]).leaders++
		}
	}
	t := newTable("BROKER", "RACK", "REPLICAS", "PREFERRED-LEADERS", "DATA")
	arrow := func(before, after any) string {
		if before == after {
			return fmt.Sprint(before)
		}
		return fmt.Sprintf("%v -> %v", before, after)
	}
	for i := range v.Brokers {
		b := &v.Brokers[i]
		used, _, _ := b.bytes()
		c := of(b.ID)
		rack := b.Rack
		if rack == "" {
			rack = "-"
		}
		t.add(b.ID, rack, arrow(b.Replicas, b.Replicas+c.replicas), arrow(b.Preferred, b.Preferred+c.leaders),
			arrow(byteText(used), byteText(max(0, used+c.bytes))))
	}
	return t
}

// carryOut throttles, moves, waits, and cleans up.
func (j *moveJob) carryOut(ctx context.Context) error {
	limit, err := j.flags.throttleBytes()
	if err != nil {
		return err
	}
	w := j.cmd.OutOrStdout()
	fmt.Fprintln(w)
	if limit > 0 {
		if err := setMoveThrottle(ctx, j.a, j.allMoves(), limit); err != nil {
			return fmt.Errorf("cannot set the throttle; nothing was moved: %s", message(err))
		}
		fmt.Fprintf(w, "Moves take at most %s/s on each broker.\n", byteText(limit))
	}
	q := newMoveQueue(j.moves, j.ongoing, j.flags.atOnce, j.view.size)
	err = j.watch(ctx, q)
	if errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled) {
		j.explainInterrupt(q, limit > 0)
		return errInterrupted
	}
	if err != nil {
		return err
	}
	// A job that goes on with what another began also ends its throttle.
	if limit > 0 || len(j.ongoing) > 0 {
		if err := j.clearThrottle(ctx); err != nil {
			fmt.Fprintf(w, "The throttle could not be removed (%s); run this again with --cancel, which then only removes it.\n", message(err))
		}
	}
	j.electPreferred(ctx)
	for _, key := range keysOf(q.refused) {
		fmt.Fprintf(w, "%s was not moved: %s\n", key, message(q.refused[key]))
	}
	astray := j.astray(ctx, q)
	for _, text := range astray {
		fmt.Fprintln(w, text)
	}
	if n := len(astray); n > 0 {
		return failf("%d of %d moves did not end where they should; run the command again to plan anew", n, q.ended+len(q.refused))
	}
	if len(q.refused) > 0 {
		return failf("%d of %d moves ended, %d did not; run the command again to plan anew", q.ended, q.ended+len(q.refused), len(q.refused))
	}
	if q.ended > 0 {
		fmt.Fprintf(w, "%d move%s ended, %s copied.\n", q.ended, plural(q.ended), byteText(q.endedBytes))
	}
	return nil
}

// astray says which partitions have other replicas than the plan wanted,
// although nothing moves them any more: somebody cancelled or moved them. What
// cannot be asked is passed over.
func (j *moveJob) astray(ctx context.Context, q *moveQueue) []string {
	wanted := map[partitionKey][]int32{}
	for i := range j.moves {
		if key := moveKey(&j.moves[i]); q.refused[key] == nil {
			wanted[key] = j.moves[i].To
		}
	}
	var names []string
	for _, t := range partitionsByTopic(keysOf(wanted)) {
		names = append(names, t.name)
	}
	topics, err := describeTopics(ctx, j.a.any, names, 0)
	if err != nil {
		return nil
	}
	var texts []string
	for _, t := range topics {
		for _, p := range t.Partitions {
			to, planned := wanted[partitionKey{t.Name, p.Partition}]
			if planned && !slices.Equal(p.Replicas, to) {
				texts = append(texts, fmt.Sprintf("%s-%d has replicas %s, not %s: another change came in between.",
					t.Name, p.Partition, joinInts(p.Replicas, ","), joinInts(to, ",")))
			}
		}
	}
	return texts
}

// allMoves are the planned moves and those under way, for the throttles.
func (j *moveJob) allMoves() map[partitionKey]partitionMove {
	moves := map[partitionKey]partitionMove{}
	for key, r := range j.ongoing {
		moves[key] = partitionMove{idSet(without(r.replicas, r.adding)), idSet(r.adding)}
	}
	for i := range j.moves {
		m := &j.moves[i]
		moves[moveKey(m)] = partitionMove{idSet(m.From), idSet(without(m.To, m.From))}
	}
	return moves
}

func (j *moveJob) clearThrottle(ctx context.Context) error {
	moves := j.allMoves()
	var topics []string
	for _, t := range partitionsByTopic(keysOf(moves)) {
		topics = append(topics, t.name)
	}
	var live []int32
	for _, id := range brokersOf(moves) {
		if b := j.view.broker(id); b != nil && b.alive() {
			live = append(live, id)
		}
	}
	if err := clearBrokerThrottles(ctx, j.a, live); err != nil {
		return err
	}
	return clearTopicThrottles(ctx, j.a, topics)
}

// electPreferred lets the new preferred leaders lead. A partition whose
// preferred leader is not ready is left to the cluster's own balancing.
func (j *moveJob) electPreferred(ctx context.Context) {
	keys := append([]partitionKey(nil), j.elect...)
	keys = append(keys, keysOf(j.ongoing)...)
	for i := range j.moves {
		keys = append(keys, moveKey(&j.moves[i]))
	}
	if len(keys) == 0 {
		return
	}
	w := j.cmd.OutOrStdout()
	outcomes, err := j.a.elect(ctx, false, keys)
	if err != nil {
		fmt.Fprintf(w, "Preferred leaders could not be elected (%s); the cluster does it later (auto.leader.rebalance.enable).\n", message(err))
		return
	}
	elected := 0
	for _, err := range outcomes {
		if err == nil {
			elected++
		}
	}
	if elected > 0 {
		fmt.Fprintf(w, "%d partition%s got %s preferred leader.\n", elected, plural(elected), itsOrTheir(elected))
	}
}

func itsOrTheir(n int) string {
	if n == 1 {
		return "its"
	}
	return "their"
}

// explainInterrupt says what an interrupted job leaves and what can be done.
func (j *moveJob) explainInterrupt(q *moveQueue, throttled bool) {
	w := j.cmd.ErrOrStderr()
	fmt.Fprintf(w, "\nInterrupted. %d of %d moves have ended; %d under way go on by themselves in the cluster, %d were not begun.\n",
		q.ended, q.ended+len(q.running)+len(q.waiting), len(q.running), len(q.waiting))
	again := j.again
	if throttled {
		again += " --throttle " + j.flags.throttle
	}
	fmt.Fprintf(w, "  to go on:              %s\n  to stop and go back:   %s --cancel\n", again, j.again)
	if throttled {
		fmt.Fprintln(w, "The throttle stays until one of the two has been run.")
	}
}

// moveQueue keeps at most limit moves going. It is pure: look tells it what is
// under way, and it answers what to begin.
type moveQueue struct {
	limit      int
	waiting    []placement.Move
	running    map[partitionKey]placement.Move
	refused    map[partitionKey]error
	ended      int
	endedBytes int64
	totalBytes int64
}

// newMoveQueue queues moves and waits for those of ongoing; size is that of a
// partition in bytes.
func newMoveQueue(moves []placement.Move, ongoing map[partitionKey]reassignment, limit int, size func(partitionKey) int64) *moveQueue {
	q := &moveQueue{limit: max(1, limit), waiting: moves, running: map[partitionKey]placement.Move{}, refused: map[partitionKey]error{}}
	planned := map[partitionKey]bool{}
	for i := range moves {
		q.totalBytes += moves[i].CopyBytes
		planned[moveKey(&moves[i])] = true
	}
	for key, r := range ongoing {
		if !planned[key] {
			m := placement.Move{Topic: key.topic, Partition: key.partition, From: without(r.replicas, r.adding),
				To: without(r.replicas, r.removing), CopyBytes: size(key) * int64(len(r.adding))}
			q.running[key] = m
			q.totalBytes += m.CopyBytes
		}
	}
	return q
}

// look takes the moves under way: those of ours that are not among them have
// ended. It returns what to begin now, and true when all is done.
func (q *moveQueue) look(underWay map[partitionKey]reassignment) (begin []placement.Move, done bool) {
	for key, m := range q.running {
		if _, moving := underWay[key]; !moving {
			delete(q.running, key)
			q.ended++
			q.endedBytes += m.CopyBytes
		}
	}
	n := min(len(q.waiting), max(0, q.limit-len(q.running)))
	begin, q.waiting = q.waiting[:n], q.waiting[n:]
	return begin, n == 0 && len(q.running) == 0
}

// begun notes which moves of begin the cluster took.
func (q *moveQueue) begun(begin []placement.Move, refused map[partitionKey]error) {
	for i := range begin {
		key := moveKey(&begin[i])
		if err := refused[key]; err != nil {
			q.refused[key] = err
			continue
		}
		q.running[key] = begin[i]
	}
}

// watch begins moves and waits for them.
func (j *moveJob) watch(ctx context.Context, q *moveQueue) error {
	show := newMoveProgress(j.cmd.ErrOrStderr(), q)
	defer show.finish()
	tick := time.NewTicker(j.every)
	defer tick.Stop()
	var lost time.Time
	for {
		done, err := j.watchOnce(ctx, q, show)
		switch {
		case ctx.Err() != nil:
			return errInterrupted
		case err == nil && done:
			return nil
		case err == nil:
			lost = time.Time{}
		case lost.IsZero():
			lost = time.Now()
		case time.Since(lost) > time.Minute:
			return fmt.Errorf("the cluster has not answered for a minute (%s); moves under way go on by themselves. To go on later: %s", message(err), j.again)
		}
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-tick.C:
		}
	}
}

func (j *moveJob) watchOnce(ctx context.Context, q *moveQueue, show *moveProgress) (done bool, err error) {
	underWay, err := j.a.reassignments(ctx, nil)
	if err != nil {
		return false, err
	}
	begin, done := q.look(underWay)
	if len(begin) > 0 {
		targets := map[partitionKey][]int32{}
		for i := range begin {
			targets[moveKey(&begin[i])] = begin[i].To
		}
		refused, err := j.a.reassign(ctx, targets, true)
		if err != nil {
			q.waiting = append(append([]placement.Move(nil), begin...), q.waiting...)
			return false, err
		}
		q.begun(begin, refused)
	}
	show.update(q, j.copied(ctx, q, underWay))
	return done, nil
}

// copied counts the bytes that the running moves' new replicas hold. It is for
// the display alone, so a broker without an answer counts as nothing.
func (j *moveJob) copied(ctx context.Context, q *moveQueue, underWay map[partitionKey]reassignment) int64 {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var replicas []replicaKey
	for key := range q.running {
		for _, id := range underWay[key].adding {
			replicas = append(replicas, replicaKey{key.topic, key.partition, id})
		}
	}
	if len(replicas) == 0 {
		return 0
	}
	found, err := j.a.dirsOf(ctx, replicas)
	if err != nil {
		return 0
	}
	sum := map[partitionKey]int64{}
	for r, at := range found {
		sum[partitionKey{r.topic, r.partition}] += at.bytes
	}
	var total int64
	for key, n := range sum {
		total += min(n, q.running[key].CopyBytes)
	}
	return total
}

// moveProgress shows how far a job is: a bar on a terminal, a line now and then
// elsewhere.
type moveProgress struct {
	w         io.Writer
	bar       *progressbar.ProgressBar
	started   time.Time
	lastLine  time.Time
	last      string // what was shown last, to notice that nothing moves
	lastMoved time.Time
}

const (
	progressLine = 10 * time.Second
	stallNotice  = time.Minute
	barSteps     = 1000
)

func newMoveProgress(w io.Writer, q *moveQueue) *moveProgress {
	p := &moveProgress{w: w, started: time.Now(), lastLine: time.Now(), lastMoved: time.Now()}
	if isTerminal(w) {
		p.bar = progressbar.NewOptions(barSteps, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(30),
			progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerHead: "█", SaucerPadding: "░", BarStart: "▕", BarEnd: "▏"}))
	}
	return p
}

func (p *moveProgress) update(q *moveQueue, copied int64) {
	copied += q.endedBytes
	all := q.ended + len(q.running) + len(q.waiting) + len(q.refused)
	part := float64(q.ended) / float64(max(1, all))
	if q.totalBytes > 0 {
		part = float64(copied) / float64(q.totalBytes)
	}
	part = min(part, 1)
	text := fmt.Sprintf("%d of %d moves, %s of %s", q.ended, all, byteText(copied), byteText(q.totalBytes))
	if text != p.last {
		p.last, p.lastMoved = text, time.Now()
	} else if time.Since(p.lastMoved) >= stallNotice {
		p.lastMoved = time.Now()
		fmt.Fprintf(p.w, "\nNothing was copied for a minute. Waiting for: %s. See what is wrong with their brokers: freshet cluster health. Ctrl-C ends the waiting.\n",
			waitingText(q))
	}
	if p.bar != nil {
		p.bar.Describe(text)
		_ = p.bar.Set(int(part * barSteps))
		return
	}
	if time.Since(p.lastLine) >= progressLine {
		p.lastLine = time.Now()
		left := ""
		if part > 0.01 && part < 1 {
			left = fmt.Sprintf(", about %v left", time.Duration(float64(time.Since(p.started))*(1-part)/part).Round(time.Second))
		}
		fmt.Fprintf(p.w, "%s copied%s\n", text, left)
	}
}

func waitingText(q *moveQueue) string {
	var names []string
	for _, key := range keysOf(q.running) {
		names = append(names, key.String())
	}
	return named(names)
}

func (p *moveProgress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// cancelMoves stops the moves under way for which pick is true and removes
// every throttle of their topics and of the live brokers.
func cancelMoves(ctx context.Context, cmd *cobra.Command, cl *kgo.Client, v *clusterView, pick func(reassignment) bool) error {
	a := brokerAdmin(cl)
	targets := map[partitionKey][]int32{}
	for key, r := range v.Moves {
		if pick(r) {
			targets[key] = nil
		}
	}
	w := cmd.OutOrStdout()
	stopped := 0
	if len(targets) > 0 {
		refused, err := a.reassign(ctx, targets, true)
		if err != nil {
			return fmt.Errorf("cannot cancel the moves: %s", message(err))
		}
		for key, err := range refused {
			if !errors.Is(err, kerr.NoReassignmentInProgress) {
				fmt.Fprintf(w, "%s goes on: %s\n", key, message(err))
			}
		}
		stopped = len(targets) - len(refused)
	}
	cleared, err := clearLeftThrottles(ctx, a, v, targets)
	if err != nil {
		return fmt.Errorf("cannot remove throttles: %s", message(err))
	}
	fmt.Fprintf(w, "%d move%s stopped; replicas are as before.\n", stopped, plural(stopped))
	if cleared > 0 {
		fmt.Fprintf(w, "Throttles of %d topic%s and all live brokers were removed.\n", cleared, plural(cleared))
	}
	return nil
}

// clearLeftThrottles removes the throttles of live brokers and of the topics
// that have any, or whose moves were stopped.
func clearLeftThrottles(ctx context.Context, a *admin, v *clusterView, stopped map[partitionKey][]int32) (int, error) {
	names := map[string]bool{}
	for key := range stopped {
		names[key.topic] = true
	}
	var topics []string
	for _, t := range v.Topics {
		topics = append(topics, t.Name)
	}
	settings, err := topicSettings(ctx, a.any, topics, leaderThrottleReplicas, followerThrottleReplicas)
	if err != nil {
		return 0, err
	}
	for name, values := range settings {
		for _, value := range values {
			if value != "" {
				names[name] = true
			}
		}
	}
	if len(names) == 0 {
		return 0, nil
	}
	var live []int32
	for i := range v.Brokers {
		if v.Brokers[i].alive() {
			live = append(live, v.Brokers[i].ID)
		}
	}
	if err := clearBrokerThrottles(ctx, a, live); err != nil {
		return 0, err
	}
	return len(names), clearTopicThrottles(ctx, a, sortedKeys(names))
}
