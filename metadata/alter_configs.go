package metadata

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ConfigOp is what IncrementalAlterConfigs does with a key (KIP-339).
type ConfigOp int8

// Operations, by their number in the protocol (AlterConfigOp.OpType).
const (
	OpSet      ConfigOp = 0
	OpDelete   ConfigOp = 1
	OpAppend   ConfigOp = 2
	OpSubtract ConfigOp = 3
)

var opNames = [...]string{"SET", "DELETE", "APPEND", "SUBTRACT"}

// ConfigChange is one operation on one key; Value is nil for null.
type ConfigChange struct {
	Key   string
	Op    ConfigOp
	Value *string
}

// ConfigAlteration changes the dynamic configuration of one resource. With
// Replace it is the older AlterConfigs: the changes are all OpSet and every
// other key is removed.
type ConfigAlteration struct {
	Resource ResourceType
	Name     string // topic name; broker id in decimal, "" for all brokers
	Replace  bool
	Changes  []ConfigChange
}

// AlterConfigs decides on changes of configuration, for each resource by
// itself; refusals are in the order of alterations, nil where there is none.
// nodeID is the broker that took the request: a broker's own configuration is
// changed through itself (Kafka: ConfigAdminManager,
// ConfigurationControlManager). It is -1 when a controller took it, which may
// change any broker's.
func (c *Controller) AlterConfigs(img *Image, nodeID int32, alterations []ConfigAlteration, validateOnly bool) ([]*Error, []Record) {
	type resource struct {
		kind ResourceType
		name string
	}
	times := map[resource]int{}
	for _, a := range alterations {
		times[resource{a.Resource, a.Name}]++
	}
	refusals := make([]*Error, len(alterations))
	var records []Record
	for i := range alterations {
		a := &alterations[i]
		if times[resource{a.Resource, a.Name}] > 1 {
			refusals[i] = refuse(CodeInvalidRequest, "Each resource must appear at most once.")
			continue
		}
		made, err := c.alterResource(img, nodeID, a)
		if err != nil {
			refusals[i] = err
			continue
		}
		records = append(records, made...)
	}
	if validateOnly {
		return refusals, nil
	}
	return refusals, append(records, c.minISRChanged(img, records)...)
}

func (c *Controller) alterResource(img *Image, nodeID int32, a *ConfigAlteration) ([]Record, *Error) {
	if err := checkChanges(a); err != nil {
		return nil, err
	}
	var current map[string]string
	switch a.Resource {
	case ResourceTopic:
		if a.Name == "" {
			return nil, refuse(CodeInvalidRequest, "Default topic resources are not allowed.")
		}
		if err := ValidateTopicName(a.Name); err != nil {
			return nil, err
		}
		topic := img.Topic(a.Name)
		if topic == nil {
			return nil, refuse(CodeUnknownTopicOrPartition, "The topic '%s' does not exist.", a.Name)
		}
		current = topic.Configs
	case ResourceBroker:
		if err := checkBrokerName(a.Name, nodeID); err != nil {
			return nil, err
		}
		current = img.BrokerConfigs[a.Name]
	default:
		return nil, refuse(CodeInvalidRequest, "Unknown resource type %d", a.Resource)
	}
	next, err := c.changed(current, a)
	if err != nil {
		return nil, err
	}
	if err := checkMinISR(img, a, current, next); err != nil {
		return nil, err
	}
	if a.Resource == ResourceTopic {
		if err := c.Config.ValidateTopic(next); err != nil {
			return nil, &Error{CodeInvalidConfig, err.Error()}
		}
	} else if err := c.Config.ValidateDynamicBroker(next, a.Name != ""); err != nil {
		// INVALID_REQUEST is Kafka's code here (KAFKA-13609).
		return nil, &Error{CodeInvalidRequest, err.Error()}
	}
	return differences(a, current, next), nil
}

// checkChanges checks the form of the changes.
func checkChanges(a *ConfigAlteration) *Error {
	seen := make(map[string]bool, len(a.Changes))
	var null []string
	for _, change := range a.Changes {
		if seen[change.Key] {
			return refuse(CodeInvalidRequest, "Error due to duplicate config keys")
		}
		seen[change.Key] = true
		if change.Op < OpSet || change.Op > OpSubtract {
			return refuse(CodeInvalidRequest, "Unknown operations type %d", change.Op)
		}
		if change.Op != OpDelete && change.Value == nil {
			null = append(null, change.Key)
		}
	}
	if len(null) > 0 {
		return refuse(CodeInvalidRequest, "Null value not supported for : %s", strings.Join(null, ", "))
	}
	return nil
}

// checkBrokerName checks the name of a broker resource: this node's id, or
// nothing for all brokers.
func checkBrokerName(name string, nodeID int32) *Error {
	if name == "" {
		return nil
	}
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return refuse(CodeInvalidRequest, "Node id must be an integer, but it is: %s", name)
	}
	if nodeID >= 0 && int32(id) != nodeID {
		return refuse(CodeInvalidRequest, "Unexpected broker id, expected %d, but received %s", nodeID, name)
	}
	return nil
}

// changed is what current becomes.
func (c *Controller) changed(current map[string]string, a *ConfigAlteration) (map[string]string, *Error) {
	next := map[string]string{}
	if !a.Replace {
		maps.Copy(next, current)
	}
	for _, change := range a.Changes {
		switch change.Op {
		case OpSet:
			next[change.Key] = *change.Value
		case OpDelete:
			delete(next, change.Key)
		case OpAppend, OpSubtract:
			deflt, isList := c.Config.ListDefault(a.Resource == ResourceTopic, change.Key)
			if !isList {
				return nil, refuse(CodeInvalidConfig, "Can't %s to key %s because its type is not LIST.", opNames[change.Op], change.Key)
			}
			old, ok := next[change.Key]
			if !ok {
				old = deflt
			}
			next[change.Key] = changeList(old, change.Op, *change.Value)
		}
	}
	return next, nil
}

// changeList appends to or subtracts from a list value.
func changeList(old string, op ConfigOp, operand string) string {
	parts := slices.DeleteFunc(strings.Split(old, ","), func(part string) bool { return part == "" })
	for _, part := range strings.Split(operand, ",") {
		i := slices.Index(parts, part)
		switch {
		case op == OpAppend && i < 0:
			parts = append(parts, part)
		case op == OpSubtract && i >= 0:
			parts = slices.Delete(parts, i, i+1)
		}
	}
	return strings.Join(parts, ",")
}

// differences are the records that turn current into next, in key order.
func differences(a *ConfigAlteration, current, next map[string]string) []Record {
	var records []Record
	for _, key := range slices.Sorted(maps.Keys(next)) {
		value := next[key]
		if old, ok := current[key]; !ok || old != value {
			records = append(records, &ConfigRecord{Resource: a.Resource, Name: a.Name, Key: key, Value: &value})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(current)) {
		if _, ok := next[key]; !ok {
			records = append(records, &ConfigRecord{Resource: a.Resource, Name: a.Name, Key: key})
		}
	}
	return records
}
