package metadata

import "math"

// Liveness tells which brokers are to be fenced, from heartbeats and broken
// connections. It is the soft state of the active controller: nothing of it is
// in the metadata log. It knows no clock: every call brings the time, in
// milliseconds of one monotonic clock. Calls must not run at the same time.
// Kafka: BrokerHeartbeatManager, which knows nothing of connections.
type Liveness struct {
	sessionTimeoutMs int64
	graceMs          int64
	contacts         map[int32]*contact
}

// contact is what is known of one registration of a broker.
type contact struct {
	epoch          int64
	metadataOffset int64 // newest the broker reported; -1: none yet
	heardMs        int64 // last heartbeat
	deadlineMs     int64 // when it is to be fenced unless heard of again
}

// NewLiveness is a machine that gives brokers sessionTimeoutMs
// (broker.session.timeout.ms) after each heartbeat, and graceMs
// (freshet.broker.disconnect.grace.ms) after their connection broke.
func NewLiveness(sessionTimeoutMs, graceMs int64) *Liveness {
	return &Liveness{sessionTimeoutMs: sessionTimeoutMs, graceMs: min(graceMs, sessionTimeoutMs), contacts: map[int32]*contact{}}
}

// Activate gives every broker that is not fenced a full session, because a new
// controller cannot know when it was last heard of; those in down, which have no
// connection to this controller, get the grace period only. What brokers reported
// is forgotten.
func (l *Liveness) Activate(img *Image, nowMs int64, down []int32) {
	old := l.contacts
	l.contacts = map[int32]*contact{}
	for i := range img.Brokers {
		b := &img.Brokers[i]
		if b.Fenced {
			continue
		}
		c := &contact{epoch: b.Epoch, metadataOffset: -1, deadlineMs: nowMs + l.sessionTimeoutMs}
		if was := old[b.ID]; was != nil && was.epoch == b.Epoch {
			c.heardMs = was.heardMs // it may have been quick to find this controller
		}
		l.contacts[b.ID] = c
	}
	for _, id := range down {
		l.Disconnected(id, nowMs)
	}
}

// Heartbeat notes that the broker's registration with the epoch lives and has
// the image with index metadataOffset. It ends the grace period of a broken
// connection. One of an older registration is ignored.
func (l *Liveness) Heartbeat(id int32, epoch, metadataOffset, nowMs int64) {
	c := l.contacts[id]
	if c == nil {
		c = &contact{metadataOffset: -1}
		l.contacts[id] = c
	}
	if epoch < c.epoch {
		return
	}
	if epoch > c.epoch {
		c.epoch, c.metadataOffset = epoch, -1
	}
	c.metadataOffset = max(c.metadataOffset, metadataOffset)
	c.heardMs, c.deadlineMs = nowMs, nowMs+l.sessionTimeoutMs
}

// Silent notes that a broker was last heard of at heardMs, by other ways than
// heartbeats: its session began then. It gets the grace period at least, in which
// it may find this controller.
func (l *Liveness) Silent(id int32, heardMs, nowMs int64) {
	if c := l.contacts[id]; c != nil {
		end := max(heardMs, c.heardMs) + l.sessionTimeoutMs
		c.deadlineMs = min(c.deadlineMs, max(end, nowMs+l.graceMs))
	}
}

// Disconnected notes that the last connection of the broker broke: it is to be
// fenced when the grace period ends, unless a heartbeat comes before. Processes
// that are killed are found so, long before their session times out.
func (l *Liveness) Disconnected(id int32, nowMs int64) {
	if c := l.contacts[id]; c != nil {
		c.deadlineMs = min(c.deadlineMs, nowMs+l.graceMs)
	}
}

// Tick returns the brokers that are to be fenced now, in order of their ids;
// they are to be given to FenceBroker together. It returns them again until the
// image says that they are fenced. Brokers that were not heard of since they
// were registered or unfenced begin a full session.
func (l *Liveness) Tick(img *Image, nowMs int64) []int32 {
	var dead []int32
	for id := range l.contacts {
		if img.Broker(id) == nil {
			delete(l.contacts, id)
		}
	}
	for i := range img.Brokers {
		b := &img.Brokers[i]
		c := l.contacts[b.ID]
		if c == nil || c.epoch < b.Epoch {
			c = &contact{epoch: b.Epoch, metadataOffset: -1, deadlineMs: math.MaxInt64}
			l.contacts[b.ID] = c
		}
		if b.Fenced {
			c.deadlineMs = math.MaxInt64
			continue
		}
		if c.deadlineMs == math.MaxInt64 {
			c.deadlineMs = nowMs + l.sessionTimeoutMs
		}
		if nowMs >= c.deadlineMs {
			dead = append(dead, b.ID)
		}
	}
	return dead
}

// NextMs is when Tick is due: at the earliest end of a session or grace period,
// math.MaxInt64 if no broker has one.
func (l *Liveness) NextMs(img *Image, nowMs int64) int64 {
	next := int64(math.MaxInt64)
	for i := range img.Brokers {
		b := &img.Brokers[i]
		if c := l.contacts[b.ID]; b.Fenced {
			continue
		} else if c == nil || c.epoch < b.Epoch || c.deadlineMs == math.MaxInt64 {
			return nowMs
		} else {
			next = min(next, c.deadlineMs)
		}
	}
	return next
}

// Overdue tells whether the broker's session or grace period has ended, or
// nothing is known of it.
func (l *Liveness) Overdue(id int32, nowMs int64) bool {
	c := l.contacts[id]
	return c == nil || nowMs >= c.deadlineMs
}

// LowestActiveOffset is the smallest metadata offset that an active broker
// reported, -1 if one has not reported yet and math.MaxInt64 if none is active.
// A broker that is shutting down waits until it has passed its own shutdown.
func (l *Liveness) LowestActiveOffset(img *Image) int64 {
	lowest := int64(math.MaxInt64)
	for i := range img.Brokers {
		b := &img.Brokers[i]
		if !b.Active() {
			continue
		}
		offset := int64(-1)
		if c := l.contacts[b.ID]; c != nil && c.epoch == b.Epoch {
			offset = c.metadataOffset
		}
		lowest = min(lowest, offset)
	}
	return lowest
}
