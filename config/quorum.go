package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// RoleConfig says what this process is and how it finds the controllers.
type RoleConfig struct {
	Broker     bool // process.roles has broker: it hosts partitions and serves clients
	Controller bool // process.roles has controller: it votes on the metadata
	// Listeners are the controller listeners bound here; none without the
	// controller role.
	Listeners []Listener
	// Advertised are the same as other nodes are told to reach them.
	Advertised []Listener

	Voters              []QuorumVoter // controller.quorum.voters
	BootstrapServers    []string      // controller.quorum.bootstrap.servers, host:port
	AutoJoin            bool          // controller.quorum.auto.join.enable
	ElectionTimeoutMs   int32
	FetchTimeoutMs      int32
	RequestTimeoutMs    int32
	RetryBackoffMs      int32
	HeartbeatIntervalMs int32 // broker.heartbeat.interval.ms
	SessionTimeoutMs    int32 // broker.session.timeout.ms
	DisconnectGraceMs   int32 // freshet.broker.disconnect.grace.ms
	RegistrationMs      int32 // initial.broker.registration.timeout.ms
	ControlledShutdown  bool  // controlled.shutdown.enable

	AutoLeaderRebalance         bool
	LeaderImbalanceCheckSeconds int64
	UncleanElectionEnable       bool // unclean.leader.election.enable of the brokers
	UncleanElectionIntervalMs   int64
	UncleanRecoveryTimeoutMs    int32 // freshet.unclean.recovery.timeout.ms
}

// QuorumVoter is one entry of controller.quorum.voters, or of the initial
// controllers given when the storage was formatted; only the latter have a
// directory id, in Kafka's text form.
type QuorumVoter struct {
	ID          int32
	Host        string
	Port        int32
	DirectoryID string
}

// String is the voter as the configuration and kafka-storage.sh write it.
func (v QuorumVoter) String() string {
	text := fmt.Sprintf("%d@%s", v.ID, net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port))))
	if v.DirectoryID != "" {
		text += ":" + v.DirectoryID
	}
	return text
}

// quorumVoters accepts lists of id@host:port.
var quorumVoters = rule{text: "non-empty list", check: func(_ string, v value) error {
	_, err := parseVoters(v.list)
	return err
}}

// bootstrapServers accepts lists of host:port.
var bootstrapServers = rule{text: "non-empty list", check: func(name string, v value) error {
	for _, text := range v.list {
		if _, _, ok := hostPort(text); !ok {
			return fmt.Errorf("Failed to parse host name from %s for the configuration %s. Each entry should be in the form \"{host}:{port}\"", text, name)
		}
	}
	return nil
}}

// hostPort splits host:port; a host of "" is refused.
func hostPort(text string) (host string, port int32, ok bool) {
	host, digits, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return "", 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	return host, int32(n), err == nil
}

// parseVoters reads controller.quorum.voters.
func parseVoters(entries []string) ([]QuorumVoter, error) {
	const key = "controller.quorum.voters"
	var voters []QuorumVoter
	for _, entry := range entries {
		id, address, ok := strings.Cut(entry, "@")
		if !ok || strings.Contains(address, "@") {
			return nil, fmt.Errorf("Invalid configuration value for %s. Each entry should be in the form `{id}@{host}:{port}`.", key)
		}
		n, err := strconv.ParseInt(id, 10, 32)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("Failed to parse voter ID as an integer from %s", id)
		}
		host, port, ok := hostPort(address)
		if !ok {
			return nil, fmt.Errorf("Failed to parse host name from entry %s for the configuration %s. Each entry should be in the form `{id}@{host}:{port}`.", entry, key)
		}
		if slices.ContainsFunc(voters, func(v QuorumVoter) bool { return v.ID == int32(n) }) {
			return nil, invalid(key, strings.Join(entries, ","), fmt.Sprintf("voter %d is listed twice", n))
		}
		voters = append(voters, QuorumVoter{ID: int32(n), Host: host, Port: port})
	}
	return voters, nil
}

// ParseInitialControllers reads the value of kafka-storage.sh
// --initial-controllers: id@host:port:directoryId, separated by commas
// (Kafka: DynamicVoters). Both ids must be unique.
func ParseInitialControllers(text string) ([]QuorumVoter, error) {
	var voters []QuorumVoter
	for _, entry := range SplitList(text) {
		colon := strings.LastIndexByte(entry, ':')
		if colon < 0 || len(entry)-colon-1 != 22 {
			return nil, fmt.Errorf("Failed to parse directory ID in dynamic voter string %s: each must be id@host:port:directoryId.", entry)
		}
		one, err := parseVoters([]string{entry[:colon]})
		if err != nil {
			return nil, fmt.Errorf("Failed to parse dynamic voter string %s: each must be id@host:port:directoryId.", entry)
		}
		voter := one[0]
		voter.DirectoryID = entry[colon+1:]
		for _, other := range voters {
			if other.ID == voter.ID {
				return nil, fmt.Errorf("Node id %d was specified more than once.", voter.ID)
			}
			if other.DirectoryID == voter.DirectoryID {
				return nil, fmt.Errorf("Directory id %s was specified more than once.", voter.DirectoryID)
			}
		}
		voters = append(voters, voter)
	}
	if len(voters) == 0 {
		return nil, fmt.Errorf("No voters given.")
	}
	return voters, nil
}

// IsVoter reports whether the configured voters name this node.
func (c *BrokerConfig) IsVoter() bool {
	return slices.ContainsFunc(c.Role.Voters, func(v QuorumVoter) bool { return v.ID == c.NodeID })
}

// OwnBootstrapOnly reports whether every bootstrap server is one of this
// node's own controller listeners, as in Kafka's quickstart: then there is
// nobody else to ask.
func (c *BrokerConfig) OwnBootstrapOnly() bool {
	for _, server := range c.Role.BootstrapServers {
		host, port, _ := hostPort(server)
		own := slices.ContainsFunc(c.Role.Listeners, func(l Listener) bool {
			return int32(l.Port) == port && (l.Host == host || isLoopback(host) && (l.Host == "" || isLoopback(l.Host) || l.Host == "0.0.0.0"))
		})
		if !own {
			return false
		}
	}
	return true
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *BrokerConfig) fillRole(r *reader) (err error) {
	roles := r.list("process.roles")
	c.Role = RoleConfig{
		Broker:                      slices.Contains(roles, "broker"),
		Controller:                  slices.Contains(roles, "controller"),
		BootstrapServers:            r.list("controller.quorum.bootstrap.servers"),
		AutoJoin:                    r.bool("controller.quorum.auto.join.enable"),
		ElectionTimeoutMs:           r.int32("controller.quorum.election.timeout.ms"),
		FetchTimeoutMs:              r.int32("controller.quorum.fetch.timeout.ms"),
		RequestTimeoutMs:            r.int32("controller.quorum.request.timeout.ms"),
		RetryBackoffMs:              r.int32("controller.quorum.retry.backoff.ms"),
		HeartbeatIntervalMs:         r.int32("broker.heartbeat.interval.ms"),
		SessionTimeoutMs:            r.int32("broker.session.timeout.ms"),
		DisconnectGraceMs:           r.int32("freshet.broker.disconnect.grace.ms"),
		RegistrationMs:              r.int32("initial.broker.registration.timeout.ms"),
		ControlledShutdown:          r.bool("controlled.shutdown.enable"),
		AutoLeaderRebalance:         r.bool("auto.leader.rebalance.enable"),
		LeaderImbalanceCheckSeconds: r.int64("leader.imbalance.check.interval.seconds"),
		UncleanElectionEnable:       r.bool("unclean.leader.election.enable"),
		UncleanElectionIntervalMs:   r.int64("unclean.leader.election.interval.ms"),
		UncleanRecoveryTimeoutMs:    r.int32("freshet.unclean.recovery.timeout.ms"),
	}
	c.Role.Voters, err = parseVoters(r.list("controller.quorum.voters"))
	return err
}

// validateRole checks roles, voters and controller listeners together. The
// sentences are Kafka's (KafkaConfig). Unlike Kafka a node with both roles and
// no quorum at all is accepted: it is a cluster by itself.
func (c *BrokerConfig) validateRole(r *reader) error {
	role := &c.Role
	ids := make([]int32, len(role.Voters))
	for i, v := range role.Voters {
		ids[i] = v.ID
		if v.Host == "0.0.0.0" || v.Host == "::" {
			return fmt.Errorf("Host string (%s) is not routeable: controller.quorum.voters must name addresses that the other nodes can reach", v.Host)
		}
	}
	if !role.Broker && !role.Controller {
		return invalid("process.roles", r.text("process.roles"), "it must contain broker, controller or both")
	}
	noQuorum := len(role.Voters) == 0 && len(role.BootstrapServers) == 0
	if noQuorum && !(role.Broker && role.Controller) {
		return fmt.Errorf("If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap controllers or " +
			"controller.quorum.voters must contain a parseable set of controllers.")
	}
	if role.Controller {
		return c.validateController(ids, noQuorum)
	}
	switch {
	case slices.Contains(ids, c.NodeID):
		return fmt.Errorf("If process.roles contains just the 'broker' role, the node id %d must not be included in the set of voters controller.quorum.voters=%v", c.NodeID, ids)
	case len(c.ControllerListenerNames) == 0:
		return fmt.Errorf("controller.listener.names must contain at least one value when running KRaft with just the broker role")
	case len(role.Listeners) > 0:
		return fmt.Errorf("controller.listener.names must not contain a value appearing in the 'listeners' configuration when running KRaft with just the broker role")
	}
	return nil
}

func (c *BrokerConfig) validateController(voters []int32, noQuorum bool) error {
	role := &c.Role
	if len(voters) > 0 && !slices.Contains(voters, c.NodeID) {
		return fmt.Errorf("If process.roles contains the 'controller' role, the node id %d must be included in the set of voters controller.quorum.voters=%v", c.NodeID, voters)
	}
	for _, name := range c.ControllerListenerNames {
		if !slices.ContainsFunc(role.Listeners, func(l Listener) bool { return l.Name == name }) {
			return fmt.Errorf("controller.listener.names must only contain values appearing in the 'listeners' configuration when running the KRaft controller role")
		}
	}
	// Alone it needs no listener: nobody but itself asks its controller.
	alone := role.Broker && (noQuorum || len(voters) == 1)
	if len(role.Listeners) == 0 && !alone {
		return fmt.Errorf("controller.listener.names must contain at least one value appearing in the 'listeners' configuration when running the KRaft controller role")
	}
	if !role.Broker && len(c.Listeners) > 0 {
		return fmt.Errorf("The listeners config must only contain KRaft controller listeners from controller.listener.names when process.roles=controller")
	}
	return nil
}
