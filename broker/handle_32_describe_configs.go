package broker

import (
	"fmt"
	"strconv"

	"freshet/config"
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs, versions 1 to 4 (KIP-133).
//
//	v1  source and synonyms (KIP-226)
//	v3  type and documentation (KIP-569)
//	v4  flexible
//
// Topics, this broker, and the defaults of all brokers. Client metrics have no
// subscriptions and broker loggers no levels here, so both are empty; groups
// have no configuration of their own in this version.
func init() {
	register(API{Key: 32, Min: 1, Max: 4, Handle: handleDescribeConfigs})
	registerOnController(API{Key: 32, Min: 1, Max: 4, Handle: handleDescribeConfigs})
}

func handleDescribeConfigs(b *Broker, r *Request) {
	req := r.Body.(*kmsg.DescribeConfigsRequest)
	resp := kmsg.NewPtrDescribeConfigsResponse()
	for i := range req.Resources {
		asked := &req.Resources[i]
		answer := kmsg.NewDescribeConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = asked.ResourceType, asked.ResourceName
		entries, err := b.describeResource(asked)
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(err)
		answer.Configs = make([]kmsg.DescribeConfigsResponseResourceConfig, 0, len(entries))
		for j := range entries {
			answer.Configs = append(answer.Configs, describedConfig(req, &entries[j]))
		}
		resp.Resources = append(resp.Resources, answer)
	}
	r.Reply(resp)
}

// describeResource lists one resource's keys, or refuses.
func (b *Broker) describeResource(asked *kmsg.DescribeConfigsRequestResource) ([]config.Entry, *metadata.Error) {
	cfg := b.Config()
	name := asked.ResourceName
	switch metadata.ResourceType(asked.ResourceType) {
	case metadata.ResourceTopic:
		if err := metadata.ValidateTopicName(name); err != nil {
			return nil, err
		}
		topic := b.meta.Image().Topic(name)
		if topic == nil {
			return nil, &metadata.Error{Code: metadata.CodeUnknownTopicOrPartition, Message: kerr.UnknownTopicOrPartition.Description}
		}
		return cfg.DescribeTopic(topic.Configs, asked.ConfigNames), nil
	case metadata.ResourceBroker:
		if name == "" {
			return cfg.DescribeDefault(asked.ConfigNames), nil
		}
		if err := b.checkBrokerResource(name, " or empty string"); err != nil {
			return nil, err
		}
		return cfg.DescribeBroker(asked.ConfigNames), nil
	case metadata.ResourceBrokerLogger:
		if name == "" {
			return nil, invalidRequest("Broker id must not be empty")
		}
		return nil, b.checkBrokerResource(name, "")
	case metadata.ResourceClientMetrics:
		if name == "" {
			return nil, invalidRequest("Client metrics subscription name must not be empty")
		}
		return nil, nil
	}
	return nil, invalidRequest("Unsupported resource type: %s", metadata.ResourceType(asked.ResourceType))
}

// checkBrokerResource checks that a broker resource is this broker's.
func (b *Broker) checkBrokerResource(name, alternative string) *metadata.Error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return invalidRequest("Broker id must be an integer, but it is: %s", name)
	}
	if nodeID := b.Config().NodeID; int32(id) != nodeID {
		return invalidRequest("Unexpected broker id, expected %d%s, but received %s", nodeID, alternative, name)
	}
	return nil
}

func invalidRequest(format string, args ...any) *metadata.Error {
	return &metadata.Error{Code: metadata.CodeInvalidRequest, Message: fmt.Sprintf(format, args...)}
}

func describedConfig(req *kmsg.DescribeConfigsRequest, entry *config.Entry) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.ReadOnly, c.IsSensitive = entry.Name, entry.Value, entry.ReadOnly, entry.Sensitive
	c.Source = kmsg.ConfigSource(entry.Source)
	c.ConfigType = kmsg.ConfigType(entry.Type)
	if req.IncludeSynonyms {
		for _, s := range entry.Synonyms {
			c.ConfigSynonyms = append(c.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
				Name: s.Name, Value: s.Value, Source: kmsg.ConfigSource(s.Source),
			})
		}
	}
	if req.IncludeDocumentation {
		c.Documentation = &entry.Doc
	}
	return c
}
