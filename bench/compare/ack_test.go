package compare

import (
	"strings"
	"testing"
)

func TestPromisesInWords(t *testing.T) {
	for want, p := range map[string]AckPromise{
		"acks=1: in the page cache of the leader":                                                {Acks: "1", FlushMessages: unset, FlushMs: unset},
		"acks=1: fsynced by the leader":                                                          {Acks: "1", FlushMessages: "1", FlushMs: unset},
		"acks=all: in the page cache of every in-sync replica":                                   {Acks: "all", FlushMessages: unset, FlushMs: unset},
		"acks=all: fsynced by every in-sync replica":                                             {Acks: "all", FlushMessages: "1", FlushMs: unset},
		"acks=1: in the page cache of the leader, with an fsync every 1000 records":              {Acks: "1", FlushMessages: "1000", FlushMs: unset},
		"acks=1: in the page cache of the leader, fsynced within 5 ms":                           {Acks: "1", FlushMessages: unset, FlushMs: "5"},
		"acks=1: written by the leader; whether fsync came first, the broker does not tell":      {Acks: "1", FlushMessages: unknown, FlushMs: unknown},
		"acks=all: written by every in-sync replica; whether fsync came first, the broker does ": {Acks: "all", FlushMessages: unknown, FlushMs: unknown},
	} {
		if got := p.words(); !strings.HasPrefix(got, want) {
			t.Errorf("%+v: %q, want %q", p, got, want)
		}
	}
}

func TestDifferences(t *testing.T) {
	base := AckPromise{Acks: "1", FlushMessages: unset, FlushMs: unset, MinInSync: "1", Replication: 1}
	if d := differences("a", base, "b", base); len(d) != 0 {
		t.Errorf("equal: %v", d)
	}
	for want, change := range map[string]func(*AckPromise){
		"flush.messages: a has unset, b has 1":     func(p *AckPromise) { p.FlushMessages = "1" },
		"flush.ms: a has unset, b has 10":          func(p *AckPromise) { p.FlushMs = "10" },
		"flush.ms: b does not tell":                func(p *AckPromise) { p.FlushMs = unknown },
		"replication factor: a has 1, b has 3":     func(p *AckPromise) { p.Replication = 3 },
		"":                                         func(p *AckPromise) { p.MinInSync = "2" }, // acks=1 does not wait for them
		"flush.messages: a has unset, b has 10000": func(p *AckPromise) { p.FlushMessages = "10000" },
	} {
		other := base
		change(&other)
		if got := strings.Join(differences("a", base, "b", other), "; "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	all := base
	all.Acks = "all"
	two := all
	two.MinInSync = "2"
	if got := differences("a", all, "b", two); len(got) != 1 || got[0] != "min.insync.replicas: a has 1, b has 2" {
		t.Errorf("acks=all: %v", got)
	}
}

func TestFileSystemsMustBeTheSame(t *testing.T) {
	p := AckPromise{Acks: "1", FlushMessages: unset, FlushMs: unset}
	brokers := []Broker{{Name: "a", Ack: p, FileSystem: "ext4", Device: "sda"}, {Name: "b", Ack: p, FileSystem: "tmpfs", Device: "tmpfs"}, {Name: "c", Ack: p}}
	got := unequal(brokers)
	if len(got) != 1 || !strings.Contains(got[0], "a writes to ext4 on sda, b to tmpfs on tmpfs") {
		t.Errorf("got %v", got)
	}
}
