package broker

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"freshet/storage"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// DescribeLogDirs, versions 1 to 5 (KIP-113).
//
//	v2  flexible
//	v3  error code of the whole answer
//	v4  total and usable bytes of the file system (KIP-827)
//	v5  whether the directory is cordoned (KIP-1066); none ever is
func init() {
	register(API{Key: 35, Min: 1, Max: 5, Handle: handleDescribeLogDirs})
}

func handleDescribeLogDirs(b *Broker, r *Request) {
	req := r.Body.(*kmsg.DescribeLogDirsRequest)
	wanted := func(storage.TopicPartition) bool { return true }
	if req.Topics != nil {
		asked := map[storage.TopicPartition]bool{}
		for _, topic := range req.Topics {
			for _, index := range topic.Partitions {
				asked[storage.TopicPartition{Topic: topic.Topic, Partition: index}] = true
			}
		}
		wanted = func(tp storage.TopicPartition) bool { return asked[tp] }
	}
	byDir := map[string][]*storage.Log{}
	for _, log := range b.logs.Logs() {
		if wanted(log.TopicPartition()) {
			byDir[log.LogDir()] = append(byDir[log.LogDir()], log)
		}
	}
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	for _, dir := range b.logs.Dirs() {
		resp.Dirs = append(resp.Dirs, describeLogDir(&dir, byDir[dir.Path]))
	}
	r.Reply(resp)
}

func describeLogDir(dir *storage.DirInfo, logs []*storage.Log) kmsg.DescribeLogDirsResponseDir {
	answer := kmsg.NewDescribeLogDirsResponseDir()
	answer.Dir, answer.TotalBytes, answer.UsableBytes = dir.Path, -1, -1
	if absolute, err := filepath.Abs(dir.Path); err == nil {
		answer.Dir = absolute
	}
	if dir.Err != nil {
		answer.ErrorCode = kerr.KafkaStorageError.Code
		return answer
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir.Path, &fs); err != nil {
		slog.Warn("size of the log directory's file system is unknown", "dir", dir.Path, "error", err)
	} else {
		answer.TotalBytes, answer.UsableBytes = int64(fs.Blocks)*fs.Bsize, int64(fs.Bavail)*fs.Bsize
	}
	slices.SortFunc(logs, func(a, b *storage.Log) int {
		x, y := a.TopicPartition(), b.TopicPartition()
		if c := strings.Compare(x.Topic, y.Topic); c != 0 {
			return c
		}
		return int(x.Partition) - int(y.Partition)
	})
	for _, log := range logs {
		tp := log.TopicPartition()
		if n := len(answer.Topics); n == 0 || answer.Topics[n-1].Topic != tp.Topic {
			topic := kmsg.NewDescribeLogDirsResponseDirTopic()
			topic.Topic = tp.Topic
			answer.Topics = append(answer.Topics, topic)
		}
		topic := &answer.Topics[len(answer.Topics)-1]
		p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		// The lag is that of the high watermark behind the log end offset.
		p.Partition, p.Size, p.OffsetLag = tp.Partition, log.Size(), max(0, log.HighWatermark()-log.LogEndOffset())
		topic.Partitions = append(topic.Partitions, p)
	}
	return answer
}
