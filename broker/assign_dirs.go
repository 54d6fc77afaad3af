package broker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// dirReporter tells the controller in which log directory this broker keeps
// each replica, wherever the metadata does not say so: after a new replica was
// put into one of several directories, and after one was begun anew because its
// directory is gone. By that the controller knows what a failed directory takes
// with it, and who still has what (KIP-858; Kafka: AssignmentsManager).
type dirReporter struct {
	broker  *Broker
	channel *controllerChannel
	seen    int64 // Index of the image in which everything was right
	anew    int   // replicas that began anew, as the last log line said
}

const (
	dirReportInterval = time.Second
	// maxDirReport bounds the replicas of one request (Kafka:
	// AssignReplicasToDirsRequest.MAX_ASSIGNMENTS_PER_REQUEST).
	maxDirReport = 2250
)

// reportDirs looks after each change of the metadata until ctx ends.
func (b *Broker) reportDirs(ctx context.Context) {
	d := &dirReporter{broker: b, channel: &controllerChannel{broker: b}, seen: -1}
	defer d.channel.close()
	ticker := time.NewTicker(dirReportInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := d.look(ctx); err != nil && ctx.Err() == nil {
			slog.Debug("log directories of replicas could not be reported; this is tried again", "error", err)
		}
	}
}

// look reports what the newest image has wrong.
func (d *dirReporter) look(ctx context.Context) error {
	b := d.broker
	epoch := b.member.epoch.Load()
	for epoch >= 0 && !b.stopped.Load() {
		img := b.meta.Image()
		if img.Index == d.seen {
			return nil
		}
		req, wrong := d.request(img, epoch)
		if wrong == 0 {
			d.seen = img.Index
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, b.member.requestTime())
		answer, err := d.channel.ask(ctx, req)
		cancel()
		if err != nil {
			return err
		}
		if code := answer.(*kmsg.AssignReplicasToDirsResponse).ErrorCode; code != 0 {
			return fmt.Errorf("the controller answered AssignReplicasToDirs with %w", kerr.ErrorForCode(code))
		}
		if wrong < maxDirReport {
			return nil // the next look sees whether that was all
		}
	}
	return nil
}

// request names up to maxDirReport replicas that are not where the image says.
func (d *dirReporter) request(img *metadata.Image, epoch int64) (req *kmsg.AssignReplicasToDirsRequest, wrong int) {
	b := d.broker
	self := b.Config().NodeID
	online := b.onlineDirs()
	var anew []string
	topics := map[metadata.UUID]map[metadata.UUID][]kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{}
	for _, log := range b.logs.Logs() {
		dir, ok := online[log.LogDir()]
		tp := log.TopicPartition()
		t := img.Topic(tp.Topic)
		if id, known := log.TopicID(); !ok || t == nil || known && metadata.UUID(id) != t.ID {
			continue
		}
		p := t.Partition(tp.Partition)
		if p == nil || !slices.Contains(p.Replicas, self) || p.Dir(self) == dir {
			continue
		}
		if wrong++; wrong > maxDirReport {
			wrong = maxDirReport
			break
		}
		if was := p.Dir(self); was != metadata.UnassignedDir && !hasDir(online, was) {
			anew = append(anew, tp.String())
			slog.Debug("replica begins anew", "partition", tp.String(), "was_in", was, "is_in", log.LogDir())
		}
		if topics[dir] == nil {
			topics[dir] = map[metadata.UUID][]kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{}
		}
		topics[dir][t.ID] = append(topics[dir][t.ID], kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{Partition: tp.Partition})
	}
	if len(anew) > 0 && len(anew) != d.anew { // asked again after a failure it is the same
		slog.Warn("replicas begin anew: the log directory that held them is not there any more, and what only they had is lost",
			"partitions", len(anew), "first", anew[:min(len(anew), isrTallyFirst)])
	}
	d.anew = len(anew)
	req = kmsg.NewPtrAssignReplicasToDirsRequest()
	req.BrokerID, req.BrokerEpoch = self, epoch
	for dir, byTopic := range topics {
		directory := kmsg.AssignReplicasToDirsRequestDirectory{ID: dir}
		for id, partitions := range byTopic {
			directory.Topics = append(directory.Topics, kmsg.AssignReplicasToDirsRequestDirectoryTopic{TopicID: id, Partitions: partitions})
		}
		req.Directories = append(req.Directories, directory)
	}
	return req, wrong
}

// onlineDirs are the log directories that work, by path.
func (b *Broker) onlineDirs() map[string]metadata.UUID {
	online := map[string]metadata.UUID{}
	for _, dir := range b.logs.Dirs() {
		if dir.Err == nil {
			online[dir.Path] = metadata.UUID(dir.DirectoryID)
		}
	}
	return online
}

func hasDir(online map[string]metadata.UUID, dir metadata.UUID) bool {
	for _, id := range online {
		if id == dir {
			return true
		}
	}
	return false
}
