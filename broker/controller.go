package broker

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"time"

	"freshet/metadata"
)

// metadataLog is the cluster's metadata as this node has it, and the way to
// change it on the active controller. It is filled by *quorum.Node.
type metadataLog interface {
	// Image is the newest image; it never waits.
	Image() *metadata.Image
	// Do changes the metadata on the active controller; elsewhere it fails.
	Do(decide func(*metadata.Image) ([]metadata.Record, error)) (*metadata.Image, error)
	// Leader is the active controller, -1 while none is known, and its epoch.
	Leader() (id, epoch int32)
	// WaitIndex waits until the image holds the record of that index.
	WaitIndex(ctx context.Context, index int64) error
	Close() error
}

// controllerSide is what a node has to do with controllers: the listeners, if
// it is one, its ways to the active one, and its work when it is that itself.
type controllerSide struct {
	server *controllerServer // nil without controller listeners
	active *activeController
	// forwards carries clients' requests, and this broker's own that may wait.
	forwards *controllerChannel
	isr      *partitionChanger
	rand     *rand.Rand // of decisions, which run one at a time
}

// openController binds the controller listeners and prepares the rest; nothing
// runs before startController.
func (b *Broker) openController() error {
	b.ctl.active = newActiveController(b)
	b.ctl.forwards = &controllerChannel{broker: b}
	b.ctl.isr = newPartitionChanger(b)
	b.ctl.rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	listeners := b.Config().Role.Listeners
	if len(listeners) == 0 {
		return nil
	}
	server, err := newControllerServer(b, listeners)
	if err != nil {
		return err
	}
	b.ctl.server = server
	return nil
}

// startController begins to serve the controller listeners and to work as the
// active controller when elected.
func (b *Broker) startController() {
	if b.ctl.server != nil {
		b.ctl.server.start()
	}
	b.tasks.Go(func() { b.ctl.active.run(b.life) })
	b.tasks.Go(func() { b.ctl.isr.run(b.life) })
}

// isActiveController reports whether this node is the active controller.
func (b *Broker) isActiveController() bool {
	id, _ := b.meta.Leader()
	return id == b.Config().NodeID
}

// clientID names this node in its requests to others.
func (b *Broker) clientID() string { return "freshet-" + strconv.Itoa(int(b.Config().NodeID)) }

// dial makes a connection to another node.
func (b *Broker) dial(ctx context.Context, addr string) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3}}
	return dialer.DialContext(ctx, "tcp", addr)
}

// ownAddress is where others reach a listener of this broker.
func (b *Broker) ownAddress(listener string) (host string, port int32, ok bool) {
	for _, l := range b.Config().AdvertisedListeners {
		if l.Name != listener {
			continue
		}
		host, port = l.Host, int32(l.Port)
		if port == 0 {
			port = int32(b.Port(listener))
		}
		host, ok = orHostname(host)
		return host, port, ok
	}
	return "", 0, false
}

// orHostname is host, or the machine's name for "".
func orHostname(host string) (string, bool) {
	if host != "" {
		return host, true
	}
	name, err := os.Hostname()
	return name, err == nil
}

// ownControllerAddress is where other nodes reach this node's controller
// listener; "" when it has none.
func (b *Broker) ownControllerAddress() (host string, port int32) {
	for _, l := range b.Config().Role.Advertised {
		if host, ok := orHostname(l.Host); ok {
			if l.Port == 0 {
				l.Port = b.controllerPort(l.Name)
			}
			return host, int32(l.Port)
		}
	}
	return "", 0
}

// reportQuorum says in plain words what the state of the controllers means,
// when it stays bad. It runs until ctx ends.
func (b *Broker) reportQuorum(ctx context.Context) {
	const look, patience = time.Second, 5
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for missing := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		id, epoch := b.meta.Leader()
		switch {
		case id >= 0 && missing >= patience:
			slog.Info("there is an active controller again", "controller", id, "epoch", epoch)
			missing = 0
		case id >= 0:
			missing = 0
		default:
			if missing++; missing == patience {
				slog.Error(fmt.Sprintf("there is no active controller: a majority of the controllers %s must be up and reach each other; "+
					"until then no topic, setting or leader can change, and after broker.session.timeout.ms leaders refuse records; reading goes on", b.voterNames()))
			}
		}
	}
}
