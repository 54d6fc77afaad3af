package config

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Listener is one address of listeners or advertised.listeners.
type Listener struct {
	Name     string // upper case
	Protocol string // PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
	// Host is a name or address without brackets. In listeners "" means every
	// interface; in advertised.listeners it means the machine's host name.
	Host string
	// Port is 0 in listeners when a free one is wanted, and in
	// advertised.listeners when the bound port is to be told.
	Port int
}

// String is the listener as Kafka writes it.
func (l Listener) String() string {
	return l.Name + "://" + net.JoinHostPort(l.Host, strconv.Itoa(l.Port))
}

// Address is host:port for net.Listen and gnet.
func (l Listener) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

var listenerForm = regexp.MustCompile(`^(.*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)$`)

// parseListeners reads a list of NAME://host:port.
func parseListeners(key string, texts []string, protocols map[string]string) ([]Listener, error) {
	all := strings.Join(texts, ",")
	var listeners []Listener
	for _, text := range texts {
		parts := listenerForm.FindStringSubmatch(text)
		if parts == nil {
			return nil, invalid(key, text, "a listener must be of the form NAME://host:port, such as PLAINTEXT://:9092")
		}
		name := strings.ToUpper(parts[1])
		port, err := strconv.Atoi(parts[3])
		if err != nil || port < 0 || port > 65535 {
			return nil, invalid(key, text, "the port must be between 0 and 65535")
		}
		protocol, ok := protocols[name]
		if !ok {
			return nil, invalid(key, text, "no security protocol defined for listener "+name+" in listener.security.protocol.map")
		}
		if slices.ContainsFunc(listeners, func(l Listener) bool { return l.Name == name }) {
			return nil, invalid(key, all, "each listener must have a different name")
		}
		listeners = append(listeners, Listener{Name: name, Protocol: protocol, Host: parts[2], Port: port})
	}
	return listeners, nil
}

// checkPorts rejects two listeners on one port, which only an IPv4 and an IPv6
// address may share.
func checkPorts(listeners []Listener) error {
	for i, a := range listeners {
		for _, b := range listeners[:i] {
			if a.Port != b.Port || a.Port == 0 {
				continue
			}
			ipA, ipB := net.ParseIP(a.Host), net.ParseIP(b.Host)
			if ipA != nil && ipB != nil && (ipA.To4() == nil) != (ipB.To4() == nil) {
				continue
			}
			return invalid("listeners", a.String()+","+b.String(), "each listener must have a different port")
		}
	}
	return nil
}

var securityProtocols = []string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

// parseProtocolMap reads NAME:PROTOCOL,…
func parseProtocolMap(text string) (map[string]string, error) {
	const key = "listener.security.protocol.map"
	protocols := map[string]string{}
	for _, entry := range SplitList(text) {
		name, protocol, ok := strings.Cut(entry, ":")
		name, protocol = strings.ToUpper(strings.TrimSpace(name)), strings.ToUpper(strings.TrimSpace(protocol))
		if !ok || name == "" || !slices.Contains(securityProtocols, protocol) {
			return nil, invalid(key, entry, "each entry must be NAME:PROTOCOL with one of the protocols "+strings.Join(securityProtocols, ", "))
		}
		if _, twice := protocols[name]; twice {
			return nil, invalid(key, text, "listener "+name+" is mapped twice")
		}
		protocols[name] = protocol
	}
	return protocols, nil
}

// resolveListeners fills c's listeners, advertised listeners and controller
// listener names from their keys.
func (c *BrokerConfig) resolveListeners(r *reader) error {
	protocols, err := parseProtocolMap(r.text("listener.security.protocol.map"))
	if err != nil {
		return err
	}
	for _, name := range r.list("controller.listener.names") {
		name = strings.ToUpper(name)
		c.ControllerListenerNames = append(c.ControllerListenerNames, name)
		if _, ok := protocols[name]; !ok && !r.isSet("listener.security.protocol.map") {
			protocols[name] = "PLAINTEXT" // Kafka: only where the map is not set
		}
	}
	all, err := parseListeners("listeners", r.list("listeners"), protocols)
	if err != nil {
		return err
	}
	if err := checkPorts(all); err != nil {
		return err
	}
	for _, l := range all {
		if l.Protocol != "PLAINTEXT" {
			return invalid("listeners", l.String(), fmt.Sprintf("listener %s uses the security protocol %s, but this version serves PLAINTEXT listeners only", l.Name, l.Protocol))
		}
		if slices.Contains(c.ControllerListenerNames, l.Name) {
			c.Role.Listeners = append(c.Role.Listeners, l)
			continue
		}
		c.Listeners = append(c.Listeners, l)
	}
	if !c.Role.Broker {
		return c.adviseControllers(r, protocols)
	}
	if len(c.Listeners) == 0 {
		return invalid("listeners", r.text("listeners"), "at least one listener must be for clients, that is, not named in controller.listener.names")
	}
	if err := c.adviseControllers(r, protocols); err != nil {
		return err
	}
	key := "listeners"
	c.AdvertisedListeners = slices.Clone(c.Listeners)
	if r.isSet("advertised.listeners") {
		key = "advertised.listeners"
		if c.AdvertisedListeners, err = parseListeners(key, r.list(key), protocols); err != nil {
			return err
		}
		c.AdvertisedListeners = slices.DeleteFunc(c.AdvertisedListeners, func(l Listener) bool {
			return slices.Contains(c.ControllerListenerNames, l.Name)
		})
	}
	if err := c.checkAdvertised(key); err != nil {
		return err
	}
	return c.chooseInterBroker(r)
}

// adviseControllers fills what other nodes are told of the controller
// listeners: advertised.listeners where it names them, else listeners
// (KIP-853).
func (c *BrokerConfig) adviseControllers(r *reader, protocols map[string]string) error {
	advertised, err := parseListeners("advertised.listeners", r.list("advertised.listeners"), protocols)
	if err != nil {
		return err
	}
	for _, l := range c.Role.Listeners {
		if i := slices.IndexFunc(advertised, func(a Listener) bool { return a.Name == l.Name }); i >= 0 {
			l = advertised[i]
			if l.Host == "0.0.0.0" || l.Host == "::" {
				return invalid("advertised.listeners", l.String(), "the meta-address "+l.Host+" cannot be advertised; use an address that the other nodes can reach")
			}
		}
		if l.Host == "0.0.0.0" || l.Host == "::" {
			l.Host = "" // the machine's name
		}
		c.Role.Advertised = append(c.Role.Advertised, l)
	}
	return nil
}

// chooseInterBroker finds the listener that brokers use among themselves:
// inter.broker.listener.name, or the first that speaks
// security.inter.broker.protocol.
func (c *BrokerConfig) chooseInterBroker(r *reader) error {
	name := strings.ToUpper(r.text("inter.broker.listener.name"))
	protocol := r.text("security.inter.broker.protocol")
	if name != "" && r.isSet("security.inter.broker.protocol") {
		return fmt.Errorf("Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.")
	}
	var names []string
	for _, l := range c.AdvertisedListeners {
		names = append(names, l.Name)
		if name == "" && l.Protocol == protocol || l.Name == name {
			c.InterBrokerListener = l.Name
			return nil
		}
	}
	return fmt.Errorf("inter.broker.listener.name must be a listener name defined in advertised.listeners. "+
		"The valid options based on currently configured listeners are %s", strings.Join(names, ","))
}

// checkAdvertised checks that clients can use what they are told.
func (c *BrokerConfig) checkAdvertised(key string) error {
	if len(c.AdvertisedListeners) == 0 {
		return invalid(key, "", "at least one address must be advertised")
	}
	for i, l := range c.AdvertisedListeners {
		if l.Host == "0.0.0.0" || l.Host == "::" {
			if key == "listeners" {
				// Kafka refuses to start here; with one machine the host
				// name is what a user who listens everywhere means.
				c.AdvertisedListeners[i].Host = ""
				continue
			}
			return invalid(key, l.String(), "the meta-address "+l.Host+" cannot be advertised; use an address that clients can reach")
		}
		bound := slices.ContainsFunc(c.Listeners, func(b Listener) bool { return b.Name == l.Name })
		if !bound {
			return invalid(key, l.String(), "listener "+l.Name+" is not one of listeners")
		}
	}
	return nil
}

// parseIPOverrides reads max.connections.per.ip.overrides.
func parseIPOverrides(text string) (map[string]int32, error) {
	const key = "max.connections.per.ip.overrides"
	overrides := map[string]int32{}
	for _, entry := range SplitList(text) {
		colon := strings.LastIndexByte(entry, ':')
		if colon <= 0 {
			return nil, invalid(key, entry, "each entry must be host:count")
		}
		count, err := strconv.ParseInt(strings.TrimSpace(entry[colon+1:]), 10, 32)
		if err != nil || count < 0 {
			return nil, invalid(key, entry, "the count must be a number that is not negative")
		}
		overrides[strings.Trim(entry[:colon], "[] ")] = int32(count)
	}
	return overrides, nil
}
