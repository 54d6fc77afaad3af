package broker

import (
	"encoding/binary"
	"time"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// BrokerHeartbeat, versions 0 to 2 (KIP-631), answered by controllers.
//
//	v1  log directories that failed (KIP-858)
//	v2  cordoned log directories (KIP-1066)
//
// The answer carries, in tagged fields of ours, the index of the metadata it is
// about and the controller's wall clock. The request, in one of ours too, may
// carry where logs end (controller_recovery.go).
func init() {
	registerController(controllerAPI{Key: 63, Min: 0, Max: 2, decide: decideHeartbeat, refuse: refuseHeartbeat})
}

func decideHeartbeat(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.BrokerHeartbeatRequest)
	if !b.isActiveController() {
		return nil, errNotController
	}
	beat := metadata.HeartbeatRequest{
		BrokerID: req.BrokerID, BrokerEpoch: req.BrokerEpoch, CurrentMetadataOffset: req.CurrentMetadataOffset,
		WantFence: req.WantFence, WantShutDown: req.WantShutdown,
		LowestActiveOffset: b.ctl.active.heard(req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset),
	}
	for _, dir := range req.OfflineLogDirs {
		beat.OfflineLogDirs = append(beat.OfflineLogDirs, dir)
	}
	if req.CordonedLogDirs != nil {
		beat.CordonedLogDirs = []metadata.UUID{}
		for _, dir := range req.CordonedLogDirs {
			beat.CordonedLogDirs = append(beat.CordonedLogDirs, dir)
		}
	}
	// Most heartbeats change nothing, and so need no entry in the log.
	img := b.meta.Image()
	reply, records, refused := b.controller().Heartbeat(img, beat)
	if refused == nil && len(records) > 0 {
		old := img
		var err error
		img, err = b.change(func(c *metadata.Controller, img *metadata.Image) []metadata.Record {
			reply, records, refused = c.Heartbeat(img, beat)
			return records
		})
		if err != nil {
			return nil, err
		}
		if req.WantFence && !req.WantShutdown {
			reportWish(old, img, req.BrokerID)
		}
		b.ctl.active.changed(old, img)
	}
	if refused != nil {
		return refuseHeartbeat(req, refused), nil
	}
	req.UnknownTags.Each(func(tag uint32, value []byte) {
		if tag == heartbeatLogsTag {
			b.ctl.active.reported(img, req.BrokerID, req.BrokerEpoch, value)
		}
	})
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	resp.IsCaughtUp, resp.IsFenced, resp.ShouldShutdown = reply.IsCaughtUp, reply.IsFenced, reply.ShouldShutDown
	resp.UnknownTags.Set(heartbeatIndexTag, binary.BigEndian.AppendUint64(nil, uint64(img.Index)))
	resp.UnknownTags.Set(heartbeatClockTag, binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixMilli())))
	return resp, nil
}

func refuseHeartbeat(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	resp.ErrorCode, resp.IsFenced = int16(err.Code), true
	return resp
}
