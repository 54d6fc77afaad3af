package broker

import (
	"errors"
	"sync"
	"testing"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// Every task that is posted runs, whoever posts and whatever the loop is doing:
// waiting, running tasks, or between the two.
func TestPollerRunsEveryTask(t *testing.T) {
	p, err := openPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	const posters, each = 8, 2000
	ran := 0 // by the loop only
	var posting sync.WaitGroup
	for range posters {
		posting.Go(func() {
			for range each {
				p.post(func(any) error { ran++; return nil }, nil)
			}
		})
	}
	go func() {
		posting.Wait()
		p.post(func(any) error { return errEndLoop }, nil)
	}()
	for {
		if err := p.batch(true, func(int, netpoll.IOEvent) {}); errors.Is(err, errEndLoop) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if ran != posters*each {
		t.Fatalf("%d tasks ran of %d", ran, posters*each)
	}
}

// A descriptor's events come, with and without waiting, and a task posted by
// their handler runs in the same batch.
func TestPollerReportsEvents(t *testing.T) {
	p, err := openPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	if err := p.AddRead(&netpoll.PollAttachment{FD: fds[0]}, false); err != nil {
		t.Fatal(err)
	}
	seen, ran := 0, 0
	onEvent := func(fd int, ev netpoll.IOEvent) {
		if fd != fds[0] || ev&netpoll.ReadEvents == 0 {
			t.Errorf("event %#x of descriptor %d", ev, fd)
		}
		seen++
		p.post(func(any) error { ran++; return nil }, nil)
	}
	if err := p.batch(false, onEvent); err != nil || seen != 0 {
		t.Fatal(seen, err)
	}
	if _, err := unix.Write(fds[1], []byte{1}); err != nil {
		t.Fatal(err)
	}
	for _, wait := range []bool{true, false} {
		before := seen
		if err := p.batch(wait, onEvent); err != nil || seen != before+1 || ran != seen {
			t.Fatalf("wait %t: %d events, %d tasks, %v", wait, seen, ran, err)
		}
	}
	// A loop that stays idle longer than attentiveMs sleeps until something comes.
	if _, err := unix.Read(fds[0], make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ended := false
	go func() {
		for !ended {
			if err := p.batch(true, onEvent); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	p.post(func(any) error { ended = true; return nil }, nil)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
