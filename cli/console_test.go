package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What goes in through the console producer comes out of the console consumer
// byte for byte, with line ends made \n.
func TestConsoleRoundTripIsByteExact(t *testing.T) {
	addr := fakeCluster(t)
	mustRun(t, addr, "kafka-topics --bootstrap-server BROKER --create --topic bytes --partitions 1")
	var in, want strings.Builder
	for i := range 20000 {
		line := fmt.Sprintf("%d\x00\xfe\u00e9%s", i, strings.Repeat("z", i%200))
		end := []string{"\n", "\r\n", "\r"}[i%3]
		if i == 19999 {
			end = ""
		}
		in.WriteString(line + end)
		want.WriteString(line + "\n")
	}
	for _, codec := range []string{"none", "zstd"} {
		mustRun(t, addr, "kafka-console-producer --bootstrap-server BROKER --topic bytes --compression-codec "+codec, in.String())
	}
	r := runLine(t, addr, "kafka-console-consumer --bootstrap-server BROKER --topic bytes --from-beginning --max-messages 40000")
	if r.out != want.String()+want.String() {
		t.Errorf("%d bytes came back of %d", len(r.out), 2*want.Len())
	}
	if r.err != "Processed a total of 40000 messages\n" {
		t.Errorf("standard error: %q", r.err)
	}
}

func TestConsoleProducerErrors(t *testing.T) {
	addr := fakeCluster(t)
	mustRun(t, addr, "kafka-topics --bootstrap-server BROKER --create --topic t --partitions 1")
	f := func(line, stdin, wantOut, wantErr string) {
		t.Helper()
		r := runLine(t, addr, line, stdin)
		if r.code != 1 || r.out != wantOut || !strings.HasPrefix(r.err, wantErr) {
			t.Errorf("%s: %+v", line, r)
		}
	}
	f("kafka-console-producer --bootstrap-server BROKER", "", "", "Missing required argument \"[topic]\"\n")
	f("kafka-console-producer --bootstrap-server nonsense --topic t", "", "", "Please provide valid host:port like host1:9091,host2:9092\n")
	f("kafka-console-producer --bootstrap-server BROKER --topic t --property parse.key=true", "ok\tv\nbad\n",
		"Warning: --property is deprecated and will be removed in a future version. Use --reader-property instead.\n",
		"org.apache.kafka.common.KafkaException: No key separator found on line number 2: 'bad'\n")
	// The record before the bad line was sent.
	if got := mustRun(t, addr, "kafka-get-offsets --bootstrap-server BROKER --topic t"); got != "t:0:1\n" {
		t.Errorf("offsets: %q", got)
	}
}

// SIGINT ends a consumer that waits: it reports its count and exits with 130.
func TestInterrupt(t *testing.T) {
	addr := fakeCluster(t)
	mustRun(t, addr, "kafka-topics --bootstrap-server BROKER --create --topic t --partitions 1")
	mustRun(t, addr, "kafka-console-producer --bootstrap-server BROKER --topic t", "one\n")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	pr, pw := io.Pipe()
	var errOut lockedBuffer
	code := make(chan int, 1)
	go func() {
		words := []string{"kafka-console-consumer", "--bootstrap-server", addr, "--topic", "t", "--from-beginning"}
		code <- run(ctx, words, Streams{strings.NewReader(""), pw, &errOut}, func() syscall.Signal { return syscall.SIGINT })
	}()
	line := make([]byte, 4)
	if _, err := io.ReadFull(pr, line); err != nil || !bytes.Equal(line, []byte("one\n")) {
		t.Fatalf("%q %v", line, err)
	}
	cancel()
	if got := <-code; got != 130 {
		t.Errorf("exit %d", got)
	}
	if errOut.String() != "Processed a total of 1 messages\n" {
		t.Errorf("standard error: %q", errOut.String())
	}
}

// A reader that goes away ends the consumer.
func TestOutputGone(t *testing.T) {
	addr := fakeCluster(t)
	mustRun(t, addr, "kafka-topics --bootstrap-server BROKER --create --topic t --partitions 1")
	mustRun(t, addr, "kafka-console-producer --bootstrap-server BROKER --topic t", "one\n")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	pr, pw := io.Pipe()
	pr.Close()
	var errOut lockedBuffer
	words := []string{"kafka-console-consumer", "--bootstrap-server", addr, "--topic", "t", "--from-beginning"}
	run(ctx, words, Streams{strings.NewReader(""), pw, &errOut}, func() syscall.Signal { return 0 })
	if ctx.Err() != nil || !strings.HasPrefix(errOut.String(), "Unable to write to standard out, closing consumer.\n") {
		t.Errorf("standard error: %q", errOut.String())
	}
}

func TestNoBroker(t *testing.T) {
	r := runLine(t, "", "freshet topic list -b 127.0.0.1:1 --timeout 300ms")
	if r.code != 1 || !strings.Contains(r.err, "no broker answers at 127.0.0.1:1") || !strings.Contains(r.err, "freshet start") {
		t.Errorf("%+v", r)
	}
}
