package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet/config"
	"freshet/metadata"
	"freshet/metadata/quorum"
	"freshet/storage"
	"freshet/vfs"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// quorumOptions says how this node takes part in the metadata quorum.
func (b *Broker) quorumOptions(clusterID string, dir metadata.UUID, partitionDirs []string) (quorum.Options, error) {
	cfg := b.Config()
	o := quorum.Options{
		Options: metadata.Options{Dir: cfg.MetadataLogDir, NodeID: cfg.NodeID, ClusterID: clusterID,
			PartitionDirs: partitionDirs, SnapshotBytes: cfg.MetadataBytesPerSnapshot},
		DirectoryID: dir, Voter: cfg.Role.Controller, BootstrapServers: cfg.Role.BootstrapServers,
		ElectionTimeoutMs: int(cfg.Role.ElectionTimeoutMs), FetchTimeoutMs: int(cfg.Role.FetchTimeoutMs),
		Incarnation: metadata.Incarnation(b.incarnation), Dial: b.dial,
	}
	o.Host, o.Port = b.ownControllerAddress()
	for _, v := range cfg.Role.Voters {
		o.Voters = append(o.Voters, quorum.Voter{ID: v.ID, Host: v.Host, Port: v.Port})
	}
	if cfg.Role.Controller {
		initial, ok, err := quorum.ReadInitialControllers(cfg.MetadataLogDir)
		if err != nil {
			return o, err
		}
		if ok {
			o.Voters = initial
		} else if len(o.Voters) == 0 && cfg.OwnBootstrapOnly() {
			o.BootstrapServers = nil // there is nobody else to ask: a cluster by itself
		}
	}
	founds := o.Voter && len(o.Voters) <= 1 && (len(o.Voters) == 1 && o.Voters[0].ID == cfg.NodeID || len(o.Voters)+len(o.BootstrapServers) == 0)
	if clusterID == "" && !founds {
		return o, fmt.Errorf("node %d is to join a cluster, but its log directories do not say which: format them with the cluster's id (freshet kafka-storage format --cluster-id ID), or set CLUSTER_ID", cfg.NodeID)
	}
	return o, nil
}

// metadataDirID is the id of the metadata directory, drawn now if it is not
// formatted yet.
func (b *Broker) metadataDirID() (metadata.UUID, error) {
	meta, ok, err := storage.ReadMetaProperties(vfs.OS{}, b.Config().MetadataLogDir)
	if err != nil || !ok {
		return metadata.UUID(storage.NewUUID()), err
	}
	return metadata.UUID(meta.DirectoryID), nil
}

// bootFile remembers under which broker epoch this node ran and in which life
// of the machine. After a crash of the process alone the page cache still has
// everything that was acknowledged, so the controller may go on counting on it.
const bootFile = "broker-epoch"

type bootRecord struct {
	BrokerEpoch int64  `json:"brokerEpoch"`
	BootID      string `json:"bootId"`
}

func (b *Broker) bootPath() string {
	return filepath.Join(b.Config().MetadataLogDir, metadata.DirName, bootFile)
}

// bootID tells this life of the machine from others, "" where the kernel does
// not say.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// previousEpoch is the broker epoch under which this node ran before, if
// nothing it wrote then can be missing: it stopped cleanly, or the machine has
// been up since and recovery found every log whole. Else it is -1. synced is the
// epoch under which it ran if everything that it had synced is still there: after
// a power loss torn tails are no sign of anything else.
func (b *Broker) previousEpoch() (all, synced int64, err error) {
	var have bootRecord
	text, readErr := os.ReadFile(b.bootPath())
	known := readErr == nil && json.Unmarshal(text, &have) == nil && have.BootID != ""
	rebooted := known && have.BootID != bootID()
	if b.recoveredDamage(rebooted) || b.lostLogs() {
		// The next start finds sound logs, and must not claim either, however
		// early this process ends.
		return -1, -1, b.forgetEpoch()
	}
	if epoch := b.logs.CleanShutdownEpoch(); epoch >= 0 {
		return epoch, epoch, nil
	}
	switch {
	case !known:
		return -1, -1, nil
	case rebooted:
		return -1, have.BrokerEpoch, nil
	}
	return have.BrokerEpoch, have.BrokerEpoch, nil
}

// forgetEpoch makes sure that no later start claims what this node had.
func (b *Broker) forgetEpoch() error {
	err := os.Remove(b.bootPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return vfs.OS{}.SyncDir(filepath.Dir(b.bootPath()))
}

// noteFailed leaves behind that a log directory failed, for the next start: its
// logs are then written anew, and this broker claims nothing of them.
func (b *Broker) noteFailed(dir string) {
	err := b.logs.NoteFailed(dir)
	if err == nil {
		return
	}
	b.bootMu.Lock()
	defer b.bootMu.Unlock()
	b.bootForgotten = true
	slog.Error("that this log directory failed could not be written down anywhere: reboot the machine before this broker is "+
		"started again, or it will take what is in memory for what is on the disk", "dir", dir, "error", errors.Join(err, b.forgetEpoch()))
}

// recoveredDamage reports whether opening the logs set something aside, found
// something missing, read what an earlier life could not sync or, unless the
// machine went down, cut something off.
func (b *Broker) recoveredDamage(rebooted bool) bool {
	report := b.logs.RecoveryReport()
	return len(report.AfterFailure) > 0 || slices.ContainsFunc(report.Partitions, func(r storage.PartitionRecovery) bool {
		return r.TruncatedBytes > 0 && !rebooted || len(r.Quarantined) > 0 || r.MissingTo > 0
	})
}

// lostLogs reports, and logs, whether logs of which this node's metadata says
// that they hold everything are in none of its directories, though none is
// offline that may have them. Empty ones take their place, which must not lead
// while others have the records. A partition made right before a crash counts,
// too: it may take a moment longer to get its leader back.
func (b *Broker) lostLogs() bool {
	self, offline := b.Config().NodeID, len(b.offlineDirs()) > 0
	online := b.onlineDirs()
	var lost []string
	for t := range b.meta.Image().Topics() {
		for i, p := range t.Partitions {
			tp := storage.TopicPartition{Topic: t.Name, Partition: int32(i)}
			if !slices.Contains(p.ISR, self) && !slices.Contains(p.ELR, self) || offline && !hasDir(online, p.Dir(self)) {
				continue
			}
			log := b.logs.Get(tp)
			if log != nil {
				if id, known := log.TopicID(); !known || metadata.UUID(id) == t.ID {
					continue
				}
			}
			lost = append(lost, tp.String())
		}
	}
	if len(lost) == 0 {
		return false
	}
	slices.Sort(lost)
	slog.Error("partitions that this broker had are in none of its log directories: what only it held of them is lost, they begin empty, "+
		"and it leads none of its partitions before it has caught up with the others; if they were moved away, stop it and put them back",
		"count", len(lost), "partitions", lost[:min(len(lost), 5)], "log_dirs", b.Config().LogDirs)
	return true
}

// noteEpoch writes what previousEpoch reads after a crash.
func (b *Broker) noteEpoch(epoch int64) {
	b.bootMu.Lock()
	defer b.bootMu.Unlock()
	if b.bootForgotten {
		return
	}
	next, err := json.Marshal(bootRecord{BrokerEpoch: epoch, BootID: bootID()})
	if err != nil {
		return
	}
	if have, err := os.ReadFile(b.bootPath()); err == nil && string(have) == string(next) {
		return
	}
	if err := vfs.WriteFileAtomic(vfs.OS{}, b.bootPath(), next); err != nil {
		slog.Warn("the broker epoch could not be noted; after a crash this broker counts as one that may have lost records", "error", err)
	}
}

// aloneInQuorum reports whether this node is the only voter.
func (b *Broker) aloneInQuorum() bool {
	voters := b.voters()
	return len(voters) == 1 && voters[0].ID == b.Config().NodeID
}

// voters are the controllers that vote, by id.
func (b *Broker) voters() []quorum.Voter {
	replicas := b.quorum.Describe().Voters
	voters := make([]quorum.Voter, len(replicas))
	for i := range replicas {
		voters[i] = replicas[i].Voter
	}
	return voters
}

// voterNames lists the voters for the log.
func (b *Broker) voterNames() string {
	var names []string
	for _, v := range b.voters() {
		names = append(names, config.QuorumVoter{ID: v.ID, Host: v.Host, Port: v.Port}.String())
	}
	return strings.Join(names, ", ")
}

// controllerAddr is where a controller is reached, "" if that is not known.
func (b *Broker) controllerAddr(id int32) string {
	for _, v := range b.voters() {
		if v.ID == id && v.Host != "" {
			return net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port)))
		}
	}
	for _, v := range b.Config().Role.Voters {
		if v.ID == id {
			return net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port)))
		}
	}
	return ""
}

// adopt hands a connection between members to the quorum.
func (b *Broker) adopt(conn net.Conn, first []byte) error { return b.quorum.Adopt(conn, first) }

// autoJoinPause is the pause between attempts to get a vote.
const autoJoinPause = 500 * time.Millisecond

// autoJoin asks for a vote until this controller has one, which it gets once it
// has caught up (controller.quorum.auto.join.enable, KIP-1186).
func (b *Broker) autoJoin(ctx context.Context) {
	id := b.Config().NodeID
	for complained := false; ; {
		if slices.ContainsFunc(b.voters(), func(v quorum.Voter) bool { return v.ID == id }) {
			return
		}
		if leader, _ := b.meta.Leader(); leader >= 0 {
			answer, err := b.carryOutOwn(b.voteRequest())
			if resp, ok := answer.(*kmsg.AddRaftVoterResponse); err == nil && ok && resp.ErrorCode != 0 && !complained {
				complained = true
				slog.Warn("this controller has not got a vote yet; it keeps asking", "error", *resp.ErrorMessage)
			}
		}
		select {
		case <-time.After(autoJoinPause):
		case <-ctx.Done():
			return
		}
	}
}

// voteRequest asks for a vote for this node.
func (b *Broker) voteRequest() *kmsg.AddRaftVoterRequest {
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.ClusterID, req.TimeoutMillis, req.VoterID, req.VoterDirectoryID = &b.clusterID, 5000, b.Config().NodeID, b.directoryID
	host, port := b.ownControllerAddress()
	req.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: b.controllerListenerName(), Host: host, Port: uint16(port)}}
	return req
}
