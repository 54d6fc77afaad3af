// Package iouring writes the log: a thin io_uring of our own on the syscall
// layer of github.com/iceber/iouring-go, a probe of what the kernel allows,
// and the engines (pwritev, uring, auto) that turn one event-loop turn's
// appends into as few submissions as the kernel serves well.
package iouring
