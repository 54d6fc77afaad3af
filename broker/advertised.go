package broker

import "os"

// advertised is the address that clients of a listener are told to use for
// this broker (advertised.listeners): without a host the machine's name,
// without a port the one that is bound.
func (b *Broker) advertised(listener string) (host string, port int32, ok bool) {
	for _, l := range b.Config().AdvertisedListeners {
		if l.Name != listener {
			continue
		}
		host, port = l.Host, int32(l.Port)
		if port == 0 {
			port = int32(b.Port(listener))
		}
		if host == "" {
			name, err := os.Hostname()
			if err != nil {
				return "", 0, false
			}
			host = name
		}
		return host, port, true
	}
	return "", 0, false
}
