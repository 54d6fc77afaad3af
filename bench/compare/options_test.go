package compare

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"freshet/bench/kafkadist"
)

func TestParseBrokers(t *testing.T) {
	got, err := ParseBrokers("freshet, kafka,old=./bin/old,x-1=127.0.0.1:9092,127.0.0.1:9093,y=h:1")
	want := []BrokerSpec{
		{Name: "freshet", Kind: KindFreshet},
		{Name: "kafka", Kind: KindKafka},
		{Name: "old", Kind: KindFreshet, Executable: "./bin/old"},
		{Name: "x-1", Kind: KindOutside, Addr: "127.0.0.1:9092,127.0.0.1:9093"},
		{Name: "y", Kind: KindOutside, Addr: "h:1"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := SetPIDs(got, []string{"y=12"}); err != nil || got[4].PID != 12 {
		t.Errorf("%v, pid %d", err, got[4].PID)
	}
	for _, bad := range []string{"y", "y=x", "z=3", "kafka=3"} {
		if SetPIDs(got, []string{bad}) == nil {
			t.Errorf("--broker-pids %s was accepted", bad)
		}
	}
	for _, bad := range []string{"", "redpanda", "127.0.0.1:9092", "freshet,127.0.0.1:1", "a b=h:1", "=h:1", "a=h", "a=h:0"} {
		if specs, err := ParseBrokers(bad); err == nil {
			t.Errorf("--brokers %q gave %v", bad, specs)
		}
	}
}

func TestOptionsNameTheirFault(t *testing.T) {
	o := Defaults()
	if err := o.Validate(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	o.Quick()
	if err := o.Validate(); err != nil {
		t.Fatalf("quick is refused: %v", err)
	}
	o.Clients = []Client{ClientJava, ClientFreshet}
	if err := o.Validate(); err != nil {
		t.Fatalf("both clients are refused: %v", err)
	}
	for word, change := range map[string]func(*Options){
		"two brokers":   func(o *Options) { o.Brokers = o.Brokers[:1] },
		"no client":     func(o *Options) { o.Clients = nil },
		"no client \"":  func(o *Options) { o.Clients = []Client{"x"} },
		"repetition":    func(o *Options) { o.Repetitions = 0 },
		"scale":         func(o *Options) { o.Scale = 0 },
		"acks":          func(o *Options) { o.Client.Acks = 0 },
		"records":       func(o *Options) { o.JavaRecords = 0 },
		"time limit":    func(o *Options) { o.TimeLimit = 0 },
		"MB/s":          func(o *Options) { o.RatesMB = []int{0} },
		"both called":   func(o *Options) { o.Brokers[1].Name = o.Brokers[0].Name },
		"this name":     func(o *Options) { o.BrokerOverrides = map[string][]string{"x": {"a=b"}} },
		"no row \"":     func(o *Options) { o.Rows = []string{"nothing"} },
		"no row \"java": func(o *Options) { o.Rows = []string{"java-producer"} },
	} {
		o := Defaults()
		change(&o)
		err := o.Validate()
		word = strings.ReplaceAll(strings.ReplaceAll(word, "both called", "are called"), "no client \"", "there is no client")
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestPlansAreBounded(t *testing.T) {
	o := Defaults()
	if n := len(o.plan()); n < 10 {
		t.Errorf("%d rows by default", n)
	}
	if o.TimeLimit >= 10*time.Minute {
		t.Errorf("a comparison may take %s", o.TimeLimit)
	}
	o.Quick()
	if n := len(o.plan()); n < 5 || o.TimeLimit >= 3*time.Minute {
		t.Errorf("%d quick rows in %s", n, o.TimeLimit)
	}
	o.Clients = []Client{ClientJava}
	if n := len(o.plan()); n != 4 {
		t.Errorf("%d rows of the Java tools", n)
	}
	for _, row := range o.plan() {
		if row.writtenBytes(&o) <= 0 || row.config(&o) == nil {
			t.Errorf("%s is not described", row.name)
		}
	}
}

func TestSharedSettingsComeLast(t *testing.T) {
	o := Defaults()
	o.Fsync = true
	o.Overrides = []string{"num.io.threads=2"}
	got := kafkadist.AloneProperties("a:1", "a:2", "dir", o.sharedSettings())
	text := strings.Join(got, "\n")
	for _, want := range []string{"log.flush.interval.messages=1", "log.dirs=dir", "listeners=PLAINTEXT://a:1,CONTROLLER://a:2", "num.io.threads=2"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	if got[len(got)-1] != "num.io.threads=2" {
		t.Errorf("the user's setting does not come last: %v", got)
	}
}
