package storage

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"freshet/vfs"
)

// A disk that is full takes one line when writes begin to fail and one when they
// succeed again, whatever fits in between.
func TestOneLineWhenWritesFailAndWhenTheyWorkAgain(t *testing.T) {
	fsys, err := vfs.NewFaultFS(vfs.NewMemFS())
	if err != nil {
		t.Fatal(err)
	}
	ck := newClock()
	m := testManager(t, fsys, ck, noRetention())
	l, err := m.Create(testTP, nil, noRetention())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	l.logger = slog.New(slog.NewTextHandler(&out, nil))
	for range 50 {
		if err := fsys.Inject("write(*.log) enospc times 1"); err != nil {
			t.Fatal(err)
		}
		if _, err := tryAppend(l, plain(1).build(t)); err == nil {
			t.Fatal("the append did not fail")
		}
		ck.ms.Add(500)
		mustAppend(t, l, plain(1)) // a small one fits
	}
	if got := strings.Count(out.String(), "\n"); got != 1 || !strings.Contains(out.String(), "a write to the log failed") {
		t.Errorf("%d lines:\n%s", got, &out)
	}
	out.Reset()
	ck.ms.Add(worksAgainMs)
	for range 3 {
		mustAppend(t, l, plain(1))
	}
	if got := strings.Count(out.String(), "\n"); got != 1 || !strings.Contains(out.String(), "succeed again") || !strings.Contains(out.String(), "failed_writes=50") {
		t.Errorf("%d lines:\n%s", got, &out)
	}
}
