package cli

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// configEntry is one setting of a topic, broker or other resource.
type configEntry struct {
	Name      string          `json:"name"`
	Value     *string         `json:"value"` // nil when unset or sensitive
	Source    string          `json:"source"`
	ReadOnly  bool            `json:"read_only"`
	Sensitive bool            `json:"sensitive"`
	Synonyms  []configSynonym `json:"-"`
}

// configSynonym is where a setting's value could have come from.
type configSynonym struct {
	name   string
	value  *string
	source kmsg.ConfigSource
}

// isDefault reports whether nobody set the value.
func (e *configEntry) isDefault() bool { return e.Source == "DEFAULT_CONFIG" }

// text is the value, or "null" as Java prints a missing one.
func (e *configEntry) text() string {
	if e.Value == nil {
		return "null"
	}
	return *e.Value
}

// describeConfigs returns the resource's settings in the broker's order.
func describeConfigs(ctx context.Context, cl kmsg.Requestor, kind kmsg.ConfigResourceType, name string, synonyms bool) ([]configEntry, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = synonyms
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType = kind
	r.ResourceName = name
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	var entries []configEntry
	for _, r := range resp.Resources {
		if err := newBrokerError(r.ErrorCode, r.ErrorMessage); err != nil {
			return nil, err
		}
		for _, c := range r.Configs {
			e := configEntry{Name: c.Name, Value: c.Value, Source: c.Source.String(), ReadOnly: c.ReadOnly, Sensitive: c.IsSensitive}
			for _, s := range c.ConfigSynonyms {
				e.Synonyms = append(e.Synonyms, configSynonym{s.Name, s.Value, s.Source})
			}
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// configChange is one incremental alteration.
type configChange struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value string
}

// alterConfigs applies the changes to one resource.
func alterConfigs(ctx context.Context, cl *kgo.Client, kind kmsg.ConfigResourceType, name string, changes []configChange, validateOnly bool) error {
	return alterResources(ctx, cl, []resourceChange{{kind, name, changes}}, validateOnly)
}
