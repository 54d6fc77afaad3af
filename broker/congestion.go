package broker

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Congestion control of the broker's sockets (freshet.congestion.control).
//
// Between two processes of one machine nothing can be congested, but an
// algorithm that paces, such as bbr, still waits by timers between packets: a
// sixth of all CPU time of three brokers on one machine (docs/performance/STEPS.md).
// So auto takes reno there, which every kernel has and every user may set, and
// elsewhere leaves what the machine's owner chose.
const (
	congestionAuto   = "auto"
	congestionSystem = "system"
	congestionLocal  = "reno"
)

// checkCongestion reports whether this process may use the algorithm set.
func checkCongestion(setting string) error {
	switch setting {
	case congestionAuto, congestionSystem, "":
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open a socket to try freshet.congestion.control=%s: %w", setting, err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, setting); err != nil {
		return fmt.Errorf("freshet.congestion.control=%s is not an algorithm that this process may use (see /proc/sys/net/ipv4/tcp_allowed_congestion_control), nor auto or system: %w", setting, err)
	}
	return nil
}

// congestion sets the algorithm of a connection. It is not worth an error: the
// connection works with any.
func (s *server) congestion(fd int, remote netip.Addr) {
	name := s.opts.Congestion
	switch {
	case name == congestionSystem || name == "":
		return
	case name != congestionAuto:
	case remote.IsLoopback() || remote == localAddr(fd):
		name = congestionLocal
	default:
		return
	}
	_ = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
}

// localAddr is the address of this end of a connection, the zero one if that
// cannot be told.
func localAddr(fd int) netip.Addr {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.Addr{}
	}
	return addrPort(sa).Addr()
}
