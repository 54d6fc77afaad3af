package cli

import (
	"fmt"
	"sort"
	"strings"
)

// severity says how bad a finding is; health exits with the worst one.
type severity int

const (
	severityNote     severity = iota // worth knowing
	severityWarning                  // works, but one more failure may hurt
	severityCritical                 // something does not work, or acknowledged records are in danger
)

// String is the word shown to people.
func (s severity) String() string { return [...]string{"note", "warning", "critical"}[s] }

// MarshalText makes severities words in JSON.
func (s severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// finding is one thing that is not as it should be: what, and what to do.
type finding struct {
	Severity   severity `json:"severity"`
	Code       string   `json:"code"` // stable, for scripts
	Text       string   `json:"text"`
	Do         string   `json:"do,omitempty"`
	Partitions []string `json:"partitions,omitempty"`
	Brokers    []int32  `json:"brokers,omitempty"`
}

// Limits of health's judgement.
const (
	diskWarningPart  = 15 // percent free
	diskCriticalPart = 5
	fullDiskBytes    = 32 << 20 // with less free, a broker that stood back for want of room stays back
	voterSilentMs    = 10_000
	namesShown       = 5
)

// judgeHealth says what is wrong with the cluster now, the worst first.
func judgeHealth(v *clusterView) []finding {
	var found []finding
	found = append(found, judgeControllers(v)...)
	found = append(found, judgeBrokers(v)...)
	found = append(found, judgeDisks(v)...)
	found = append(found, judgePartitions(v)...)
	found = append(found, judgeSettings(v)...)
	for _, text := range v.Unknown {
		found = append(found, finding{Severity: severityWarning, Code: "no-answer", Text: text})
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].Severity > found[j].Severity })
	return found
}

// worst is the exit code that the findings stand for: 0, 1 or 2.
func worst(found []finding) severity {
	w := severityNote
	for _, f := range found {
		w = max(w, f.Severity)
	}
	return w
}

func judgeControllers(v *clusterView) []finding {
	if v.Controller < 0 {
		return []finding{{Severity: severityCritical, Code: "no-controller",
			Text: "No controller is active: nothing can be created or changed, and a partition whose leader fails stays without one. What has a leader can be read; within broker.session.timeout.ms leaders refuse records, too.",
			Do:   "start controllers until more than half of the voters run (controller.quorum.* in their server.properties names them)"}}
	}
	if v.Quorum == nil {
		return nil
	}
	var found []finding
	var silent, behind []int32
	for _, m := range v.Quorum.Voters {
		switch {
		case m.silent(v.Quorum.Leader):
			silent = append(silent, m.ID)
		case m.Lag > 0 && m.BehindMs > voterSilentMs:
			behind = append(behind, m.ID)
		}
	}
	if len(behind) > 0 {
		found = append(found, finding{Severity: severityWarning, Code: "voter-behind", Brokers: behind,
			Text: fmt.Sprintf("%s %s of the quorum %s, but %s not written the newest metadata for more than %d s: as with a full disk, %s cannot vote.",
				capitalized(numbered("controller", behind)), joinInts(behind, ", "), oneOrMany(len(behind), "answers", "answer"),
				oneOrMany(len(behind), "has", "have"), voterSilentMs/1000, oneOrMany(len(behind), "it", "they")),
			Do: "read the log there; make room on the disk of metadata.log.dir"})
	}
	voters := len(v.Quorum.Voters)
	needed := voters/2 + 1
	if len(silent) > 0 {
		spare := voters - len(silent) - needed
		after := fmt.Sprintf("%d more may fail", spare)
		if spare <= 0 {
			after = "if one more fails, no controller can be elected"
		}
		found = append(found, finding{Severity: severityWarning, Code: "voter-silent", Brokers: silent,
			Text: fmt.Sprintf("%s %s of the quorum %s silent: %s (%d of %d voters work, %d are needed).",
				capitalized(numbered("controller", silent)), joinInts(silent, ", "), isOrAre(len(silent)), after, voters-len(silent), voters, needed),
			Do: "start " + numbered("controller", silent) + " " + joinInts(silent, ", ") +
				", or take it out of the quorum: kafka-metadata-quorum.sh remove-controller"})
	}
	switch live := countAlive(v); {
	case voters == 1 && live > 1:
		found = append(found, finding{Severity: severityWarning, Code: "one-voter",
			Text: fmt.Sprintf("The quorum has one controller, %d: when it is down, no partition gets a new leader.", v.Quorum.Leader),
			Do:   "run controllers on two more nodes and add them: kafka-metadata-quorum.sh add-controller"})
	case voters%2 == 0:
		found = append(found, finding{Severity: severityNote, Code: "even-voters",
			Text: fmt.Sprintf("The quorum has %d voters, which tolerate no more failures than %d would.", voters, voters-1),
			Do:   "add or remove one: kafka-metadata-quorum.sh add-controller, remove-controller"})
	}
	return found
}

func countAlive(v *clusterView) int {
	n := 0
	for i := range v.Brokers {
		if v.Brokers[i].alive() {
			n++
		}
	}
	return n
}

func judgeBrokers(v *clusterView) []finding {
	var found []finding
	for i := range v.Brokers {
		b := &v.Brokers[i]
		f := finding{Severity: severityWarning, Brokers: []int32{b.ID}}
		holds := fmt.Sprintf("It holds %d replica%s, of which %d should lead.", b.Replicas, plural(b.Replicas), b.Preferred)
		switch {
		case b.runs():
			f.Code = "broker-fenced"
			f.Text, f.Do = fencedWhy(b, holds)
		case b.State == brokerFenced:
			f.Code = "broker-fenced"
			f.Text = fmt.Sprintf("Broker %d (%s) is registered, but its heartbeats have stopped. %s", b.ID, hostPort(b.Host, b.Port), holds)
			f.Do = fmt.Sprintf("start broker %d; if it is gone for good: freshet broker decommission %d", b.ID, b.ID)
		case b.State == brokerGone:
			f.Code = "broker-gone"
			f.Text = fmt.Sprintf("Broker %d is not up: replicas name it, but the cluster does not list it. %s", b.ID, holds)
			f.Do = fmt.Sprintf("start broker %d; if it is gone for good: freshet broker decommission %d", b.ID, b.ID)
		case b.State == brokerSilent:
			f.Code = "broker-silent"
			f.Text = fmt.Sprintf("Broker %d (%s) is listed as alive, but does not answer this client (%s). %s", b.ID, hostPort(b.Host, b.Port), b.Silence, holds)
			f.Do = fmt.Sprintf("see whether broker %d runs, and whether this machine reaches its address", b.ID)
		default:
			continue
		}
		if b.Replicas == 0 && b.State != brokerSilent && !b.runs() {
			f.Severity = severityNote
			f.Text = strings.Replace(f.Text, holds, "It holds nothing.", 1)
			f.Do = fmt.Sprintf("start it, or make the cluster forget it: kafka-cluster.sh unregister --id %d", b.ID)
		}
		found = append(found, f)
	}
	return found
}

// fencedWhy is a sentence about a broker that runs and is fenced, and what to do.
func fencedWhy(b *brokerView, holds string) (text, do string) {
	for _, d := range b.Dirs {
		if d.TotalBytes > 0 && d.FreeBytes >= 0 && d.FreeBytes < fullDiskBytes {
			return fmt.Sprintf("Broker %d (%s) runs, but leads nothing and follows nobody while the disk of %s is full. %s", b.ID, hostPort(b.Host, b.Port), d.Path, holds),
				fmt.Sprintf("make room on the disk of broker %d; it takes part again by itself", b.ID)
		}
	}
	return fmt.Sprintf("Broker %d (%s) runs, but is fenced: the controllers do not hear from it, or it is starting or stopping. %s", b.ID, hostPort(b.Host, b.Port), holds),
		fmt.Sprintf("ask again; if it stays, look at the log of broker %d, and whether it reaches the active controller", b.ID)
}

func judgeDisks(v *clusterView) []finding {
	var found []finding
	for i := range v.Brokers {
		b := &v.Brokers[i]
		for _, d := range b.Dirs {
			switch percent := d.freePercent(); {
			case d.Offline:
				found = append(found, finding{Severity: severityWarning, Code: "log-dir-offline", Brokers: []int32{b.ID},
					Text: fmt.Sprintf("Log directory %s of broker %d is offline after a disk error; its replicas are out of service.", d.Path, b.ID),
					Do:   fmt.Sprintf("look for the error in broker %d's log, replace the disk, start the broker again", b.ID)})
			case percent < 0 || percent >= diskWarningPart:
			default:
				f := finding{Severity: severityWarning, Code: "disk-low", Brokers: []int32{b.ID},
					Text: fmt.Sprintf("The disk of %s on broker %d has %d %% (%s) left. When it is full, the broker refuses records.", d.Path, b.ID, percent, byteText(d.FreeBytes)),
					Do:   "lower retention.ms or retention.bytes of large topics, or add a broker and run: freshet cluster rebalance"}
				if percent < diskCriticalPart {
					f.Severity = severityCritical
				}
				found = append(found, f)
			}
		}
	}
	return found
}

// freePercent is -1 when the broker does not tell.
func (d *dirView) freePercent() int {
	if d.TotalBytes <= 0 || d.FreeBytes < 0 {
		return -1
	}
	return int(float64(d.FreeBytes) / float64(d.TotalBytes) * 100)
}

// judgeSettings reports settings that make failures lose records.
func judgeSettings(v *clusterView) []finding {
	var unclean, impossible []string
	for _, t := range v.Topics {
		if t.Unclean {
			unclean = append(unclean, t.Name)
		}
		if t.MinISR > t.replicas() && t.replicas() > 0 {
			impossible = append(impossible, t.Name)
		}
	}
	var found []finding
	if len(unclean) > 0 {
		found = append(found, finding{Severity: severityWarning, Code: "unclean-election",
			Text: fmt.Sprintf("unclean.leader.election.enable is true for %s: a replica that lacks acknowledged records may become leader, and they are lost.", named(unclean)),
			Do:   "freshet topic alter-config " + unclean[0] + " --set unclean.leader.election.enable=false"})
	}
	if len(impossible) > 0 {
		found = append(found, finding{Severity: severityCritical, Code: "min-isr-too-high",
			Text: fmt.Sprintf("min.insync.replicas is greater than the number of replicas of %s: every write with acks=all is refused.", named(impossible)),
			Do:   "freshet cluster rebalance --topic " + impossible[0] + " --replicas 3, or lower min.insync.replicas"})
	}
	return found
}

// Words for sentences.

// numbered is "controller" or "controllers".
func numbered[T any](noun string, list []T) string { return noun + plural(len(list)) }

func isOrAre(n int) string { return oneOrMany(n, "is", "are") }

func oneOrMany(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func capitalized(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// named lists some names and how many more there are.
func named(names []string) string {
	if len(names) > namesShown {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:namesShown], ", "), len(names)-namesShown)
	}
	return strings.Join(names, ", ")
}

// byteText is a size with a binary unit.
func byteText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	f, u := float64(n), 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	if u == 0 || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[u])
	}
	return fmt.Sprintf("%.1f %s", f, units[u])
}
