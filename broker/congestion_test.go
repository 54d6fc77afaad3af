package broker

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The congestion control of a connection that was accepted, by what was set.
func TestCongestionControl(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, setting := range []string{congestionAuto, congestionSystem, "reno"} {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		f, err := client.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fd := int(f.Fd())
		before := congestionOf(t, fd)
		s := &server{opts: netOptions{Congestion: setting}}
		s.congestion(fd, client.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())
		want := "reno"
		if setting == congestionSystem {
			want = before
		}
		if got := congestionOf(t, fd); got != want {
			t.Errorf("%s: %s, want %s", setting, got, want)
		}
		if err := checkCongestion(setting); err != nil {
			t.Error(err)
		}
	}
	if err := checkCongestion("carrier-pigeon"); err == nil || !strings.Contains(err.Error(), "freshet.congestion.control=carrier-pigeon") {
		t.Error(err)
	}
}

func congestionOf(t *testing.T, fd int) string {
	t.Helper()
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(name, "\x00")
}
