package quorum

import (
	"context"
	"fmt"
	"log/slog"
)

// raftLogger gives raft's own messages to slog: what it calls information and
// warnings is of use only to who follows the protocol, and goes to debug.
type raftLogger struct {
	log *slog.Logger
}

func (l raftLogger) at(level slog.Level, text func() string) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "raft: "+text())
	}
}

func (l raftLogger) Debug(v ...any) { l.at(slog.LevelDebug, func() string { return fmt.Sprint(v...) }) }

func (l raftLogger) Debugf(format string, v ...any) {
	l.at(slog.LevelDebug, func() string { return fmt.Sprintf(format, v...) })
}

func (l raftLogger) Info(v ...any) { l.Debug(v...) }

func (l raftLogger) Infof(format string, v ...any) { l.Debugf(format, v...) }

func (l raftLogger) Warning(v ...any) { l.Debug(v...) }

func (l raftLogger) Warningf(format string, v ...any) { l.Debugf(format, v...) }

func (l raftLogger) Error(v ...any) { l.at(slog.LevelError, func() string { return fmt.Sprint(v...) }) }

func (l raftLogger) Errorf(format string, v ...any) {
	l.at(slog.LevelError, func() string { return fmt.Sprintf(format, v...) })
}

func (l raftLogger) Fatal(v ...any) { l.Panic(v...) }

func (l raftLogger) Fatalf(format string, v ...any) { l.Panicf(format, v...) }

// Panic is raft finding its own invariants broken.
func (l raftLogger) Panic(v ...any) { panic("BUG: raft: " + fmt.Sprint(v...)) }

// Panicf is Panic with a format.
func (l raftLogger) Panicf(format string, v ...any) { panic("BUG: raft: " + fmt.Sprintf(format, v...)) }
