package quorum

import (
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Two processes may run with one node.id and one directory id: somebody copied
// the directories. The one that is connected stays; the other is refused for as
// long as the first one lives, or both would take each other's place for ever
// and vote with one identity. A process that ended has closed its connection;
// the end of a machine is told by its silence.

// aliveWithin is how lately a peer's kernel must have answered for the peer to
// count as alive: an idle connection asks it every keepAlive, give or take the
// slack of the kernel's timers.
const aliveWithin = keepAlive + 2*time.Second

// tcpEstablished is TCP_ESTABLISHED of the kernel: neither side has closed.
const tcpEstablished = 1

// alive reports whether the other end is known to live: its kernel has answered
// of late and it has not closed, though that may not have been read yet. False
// for what is no TCP connection.
func alive(conn net.Conn) bool {
	info := tcpInfo(conn)
	return info != nil && info.State == tcpEstablished &&
		time.Duration(min(info.Last_ack_recv, info.Last_data_recv))*time.Millisecond < aliveWithin
}

// tcpInfo is what the kernel knows of a connection, nil for nothing.
func tcpInfo(conn net.Conn) (info *unix.TCPInfo) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	err = raw.Control(func(fd uintptr) {
		if got, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			info = got
		}
	})
	if err != nil {
		return nil
	}
	return info
}

// twice says that two processes run with one node.id; dir and addr are of the
// one that has just come.
func twice(live, second *Voter, how, addr string) string {
	if otherDir(live.Dir, second.Dir) {
		return fmt.Sprintf("node.id %d is used twice: by the %snode with directory id %s and by the one with directory id %s at %s; give one of them another node.id",
			second.ID, how, live.Dir, second.Dir, addr)
	}
	return fmt.Sprintf("node.id %d runs twice with directory id %s: in the %sprocess and in the one at %s; its directories were copied: stop one of the two, "+
		"and format directories of their own for another node", second.ID, second.Dir, how, addr)
}
