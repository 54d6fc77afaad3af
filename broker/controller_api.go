package broker

import (
	"errors"
	"fmt"
	"log/slog"

	"freshet/metadata"
	"freshet/metadata/quorum"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// controllerAPI is an API whose answer only the active controller knows,
// because it changes the metadata or asks about the quorum.
type controllerAPI struct {
	Key, Min, Max int16
	// decide answers on the active controller. It runs on a goroutine of its
	// own and may wait. errNotController means that this node is not, or not
	// any more, the active one; then the request goes to the one that is.
	decide func(b *Broker, r *Request) (kmsg.Response, error)
	// refuse answers a request that could not be carried out at all.
	refuse func(req kmsg.Request, err *metadata.Error) kmsg.Response
	// clients is set when clients may ask any broker, which passes it on.
	clients bool
}

var controllerAPIs [maxAPIKey + 1]*controllerAPI

// registerController adds an API of the active controller. Each handle_NN file
// calls it from init. What clients may ask any broker is also registered there.
func registerController(a controllerAPI) {
	if a.Key < 0 || a.Key > maxAPIKey || controllerAPIs[a.Key] != nil || a.decide == nil || a.refuse == nil {
		panic(fmt.Sprintf("BUG: controller API key %d registered twice, out of range or unfinished", a.Key))
	}
	controllerAPIs[a.Key] = &a
	if a.clients {
		forwarded := API{Key: a.Key, Min: a.Min, Max: a.Max, Handle: handleAtController}
		register(forwarded)
	}
}

// listenerTable are the APIs of controller listeners that are answered by
// every controller.
var listenerTable [maxAPIKey + 1]*API

// registerOnController adds an API that every controller answers by itself.
func registerOnController(a API) {
	if a.Key < 0 || a.Key > maxAPIKey || listenerTable[a.Key] != nil || a.Handle == nil {
		panic(fmt.Sprintf("BUG: API key %d of controllers registered twice or out of range", a.Key))
	}
	listenerTable[a.Key] = &a
}

// controllerListenerAPI finds what a controller listener serves, nil for
// nothing.
func controllerListenerAPI(key int16) *API {
	if key < 0 || key > maxAPIKey {
		return nil
	}
	if a := controllerAPIs[key]; a != nil {
		return &API{Key: a.Key, Min: a.Min, Max: a.Max, Handle: handleOnController}
	}
	return listenerTable[key]
}

// controllerListenerAPIs lists what controller listeners serve, by key.
func controllerListenerAPIs() []API {
	var list []API
	for key := range int16(maxAPIKey + 1) {
		if a := controllerListenerAPI(key); a != nil {
			list = append(list, *a)
		}
	}
	return list
}

// handleOnController answers a request that came to a controller listener. What
// clients may ask is passed on by a controller that is not the active one;
// brokers know which one is, and are told when they are wrong.
func handleOnController(b *Broker, r *Request) {
	api := controllerAPIs[r.Key]
	if api.clients {
		b.carryOut(r)
		return
	}
	resp, err := api.decide(b, r)
	if err != nil {
		resp = api.refuse(r.Body, refusal(err))
	}
	r.Reply(resp)
}

// handleAtController carries a client's request out on the active controller.
// The worker is free meanwhile: without a majority of controllers a change may
// wait until its timeout, and everything else must go on.
func handleAtController(b *Broker, r *Request) {
	go func() {
		defer r.contain()
		b.carryOut(r)
	}()
}

// errNotController is the error of decisions on a node that is not the active
// controller.
var errNotController = fmt.Errorf("this node is not the active controller: %w", kerr.NotController)

// refusal is an error as answers carry it. What is no refusal of a decision has
// been logged and becomes UNKNOWN_SERVER_ERROR.
func refusal(err error) *metadata.Error {
	var refused *metadata.Error
	var known *kerr.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &known):
		return &metadata.Error{Code: metadata.Code(known.Code), Message: known.Description}
	}
	return &metadata.Error{Code: metadata.CodeUnknownServerError, Message: "The metadata could not be written to disk."}
}

// change runs a decision on the newest image and waits until it is committed
// and applied here. On a node that is not the active controller, or stopped to
// be it meanwhile, the error is errNotController; others have been logged. So
// have unclean elections, whatever decided on them: a broker that comes back may
// be the last known leader, a reassignment may be cancelled.
func (b *Broker) change(decide func(c *metadata.Controller, img *metadata.Image) []metadata.Record) (*metadata.Image, error) {
	var losses []metadata.Loss
	img, err := b.meta.Do(func(img *metadata.Image) ([]metadata.Record, error) {
		records := decide(b.controller(), img)
		losses = metadata.Losses(img, records)
		return records, nil
	})
	switch {
	case err == nil:
		reportLosses(losses)
		return img, nil
	case isNotLeader(err):
		return nil, errNotController
	}
	slog.Error("metadata was not changed", "error", err)
	return nil, err
}

// isNotLeader reports whether a change failed because this node is not the
// active controller. What became of a change that was under way is unknown;
// deciding again on what the next one knows is right either way.
func isNotLeader(err error) bool {
	var notLeader *quorum.NotLeaderError
	return errors.As(err, &notLeader) || errors.Is(err, quorum.ErrOutcomeUnknown)
}
