package broker

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"freshet/metadata"
)

// logged is what f writes to the log, perhaps with lines of brokers that other
// tests have left.
func logged(t *testing.T, f func()) string {
	t.Helper()
	out := &logText{}
	was := slog.Default()
	defer slog.SetDefault(was)
	slog.SetDefault(slog.New(slog.NewTextHandler(out, nil)))
	f()
	out.Lock()
	defer out.Unlock()
	return out.String()
}

type logText struct {
	sync.Mutex
	bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.Buffer.Write(b)
}

// What many partitions wait for is said once.
func TestUnavailablePartitionsAreGrouped(t *testing.T) {
	topic := metadata.RandomUUID()
	image := func(leader int32, waits func(i int) []int32) *metadata.Image {
		record := &metadata.PartitionsRecord{TopicID: topic}
		for i := range 15 {
			p := metadata.Partition{Replicas: []int32{1, 2, 3}, Leader: leader}
			if p.ISR = []int32{1, 2}; leader < 0 {
				p.ISR, p.ELR = nil, waits(i)
			}
			record.Partitions = append(record.Partitions, p)
		}
		img, err := metadata.Apply(metadata.NewImage(), &metadata.TopicRecord{Name: "t", ID: topic}, record)
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	led := image(1, nil)
	lost := image(-1, func(i int) []int32 {
		switch i {
		case 3:
			return []int32{3}
		case 4:
			return []int32{2, 1}
		}
		return []int32{1, 2}
	})
	var a activeController
	text := logged(t, func() { a.changed(led, lost) })
	if strings.Count(text, "partitions are unavailable") != 1 || strings.Count(text, "waiting for one of the brokers") != 2 ||
		!strings.Contains(text, "partitions=15") || !strings.Contains(text, " and 4 more: waiting for one of the brokers [1 2], which") ||
		!strings.Contains(text, "t-3: waiting for one of the brokers [3], which") {
		t.Error(text)
	}
	text = logged(t, func() { a.changed(lost, led) })
	if strings.Count(text, "have a leader again") != 1 || !strings.Contains(text, "partitions=15") || !strings.Contains(text, " and 5 more") {
		t.Error(text)
	}
}

// A broker that asked to be fenced is told from one that was not heard of.
func TestAWishToBeFencedIsLogged(t *testing.T) {
	image := func(fenced bool) *metadata.Image {
		img, err := metadata.Apply(metadata.NewImage(), &metadata.BrokerRecord{Broker: metadata.Broker{ID: 7, Fenced: fenced}})
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	for _, c := range []struct{ was, is, says bool }{{false, true, true}, {true, true, false}, {true, false, false}, {false, false, false}} {
		text := logged(t, func() { reportWish(image(c.was), image(c.is), 7) })
		if strings.Contains(text, "broker is fenced: it asked for it") != c.says {
			t.Errorf("fenced before %t, after %t: %q", c.was, c.is, text)
		}
	}
}
