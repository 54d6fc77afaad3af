package broker

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"freshet/metadata"
)

// maxNamed bounds the partitions that one sentence of the log names, and the
// sentences in one line.
const maxNamed = 10

// whyUnavailable says in plain words what a partition without a leader waits for.
func whyUnavailable(p *metadata.Partition) string {
	waits := append(slices.Clone(p.ISR), p.ELR...)
	slices.Sort(waits)
	switch {
	case len(waits) > 0:
		return fmt.Sprintf("waiting for one of the brokers %v, which alone are known to hold everything acknowledged", waits)
	case len(p.LastKnownELR) > 0:
		return fmt.Sprintf("no replica is left that is known to hold everything: the brokers %v did until they restarted uncleanly; "+
			"the longest log leads once the brokers %v have reported theirs", p.LastKnownELR, p.Replicas)
	}
	return fmt.Sprintf("the replicas are on the brokers %v, none of which can lead", p.Replicas)
}

// byReason are partitions, by what is to be said of them. The zero value has
// none.
type byReason struct {
	partitions int
	reasons    []string // in the order in which they came
	named      map[string][]string
	counts     map[string]int
}

func (r *byReason) add(partition, reason string) {
	if r.counts == nil {
		r.named, r.counts = map[string][]string{}, map[string]int{}
	}
	if r.counts[reason] == 0 {
		r.reasons = append(r.reasons, reason)
	}
	r.partitions++
	if r.counts[reason]++; r.counts[reason] <= maxNamed {
		r.named[reason] = append(r.named[reason], partition)
	}
}

// sentences says each reason once, behind the partitions that it is true of.
func (r *byReason) sentences() string {
	var list []string
	for _, reason := range r.reasons[:min(len(r.reasons), maxNamed)] {
		names := strings.Join(r.named[reason], ", ")
		if more := r.counts[reason] - maxNamed; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		if reason != "" {
			names += ": " + reason
		}
		list = append(list, names)
	}
	return strings.Join(list, "; ")
}

// changed says what became unavailable, and what is available again, between
// two images.
func (a *activeController) changed(old, next *metadata.Image) {
	var lost, back byReason
	for _, topic := range metadata.Diff(old, next).Changed {
		before := old.TopicByID(topic.ID)
		for i, p := range topic.ChangedSince(before) {
			was := before == nil || before.Partition(i) == nil || before.Partition(i).Leader >= 0
			switch {
			case was && p.Leader < 0:
				lost.add(fmt.Sprintf("%s-%d", topic.Name, i), whyUnavailable(p))
			case !was && p.Leader >= 0:
				back.add(fmt.Sprintf("%s-%d", topic.Name, i), "")
			}
		}
	}
	if lost.partitions > 0 {
		slog.Error("partitions are unavailable", "partitions", lost.partitions, "which", lost.sentences())
	}
	if back.partitions > 0 {
		slog.Info("partitions have a leader again", "partitions", back.partitions, "which", back.sentences())
	}
}

// reportWish says that a broker was fenced because it asked for that.
func reportWish(old, next *metadata.Image, id int32) {
	was, is := old.Broker(id), next.Broker(id)
	if was != nil && is != nil && was.Active() && is.Fenced {
		slog.Warn("broker is fenced: it asked for it, because the disk of a log directory or of its metadata is full; it leads nothing until it has room", "broker", id)
	}
}
