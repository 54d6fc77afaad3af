package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/cli/jopt"
)

// configsCommand is kafka-configs.sh with its command line checked.
type configsCommand struct {
	out      io.Writer
	cl       *kgo.Client
	set      *jopt.Set
	entities []configEntity
}

func (c *configsCommand) alter(ctx context.Context) error {
	add, err := configsToAdd(c.set)
	if err != nil {
		return err
	}
	del := configsToDelete(c.set)
	first := c.entities[0]
	switch first.kind {
	case "topics", "client-metrics", "brokers", "groups":
		err = alterConfigs(ctx, c.cl, configResources[first.kind].kind, first.name, changesOf(add, del), false)
	case "broker-loggers":
		err = c.alterLoggers(ctx, first.name, add, del)
	case "users", "clients":
		err = c.alterClients(ctx, add, del)
	case "ips":
		if bad := unknownQuotas(add, del, ipQuotas); len(bad) > 0 {
			return fmt.Errorf("Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: %s", strings.Join(bad, ","))
		}
		err = c.alterQuotas(ctx, add, del)
	}
	if err != nil {
		return err
	}
	if first.name != "" {
		_, err = fmt.Fprintf(c.out, "Completed updating config for %s %s.\n", first.kind[:len(first.kind)-1], first.name)
	} else {
		_, err = fmt.Fprintf(c.out, "Completed updating default config for %s in the cluster.\n", first.kind)
	}
	return err
}

func changesOf(add map[string]string, del []string) []configChange {
	var changes []configChange
	for _, k := range del {
		changes = append(changes, configChange{name: k, op: kmsg.IncrementalAlterConfigOpDelete})
	}
	for _, k := range sortedKeys(add) {
		changes = append(changes, configChange{k, kmsg.IncrementalAlterConfigOpSet, add[k]})
	}
	return changes
}

func (c *configsCommand) alterLoggers(ctx context.Context, broker string, add map[string]string, del []string) error {
	entries, err := describeConfigs(ctx, c.cl, kmsg.ConfigResourceTypeBrokerLogger, broker, false)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, e := range entries {
		known[e.Name] = true
	}
	var bad []string
	for _, name := range append(append([]string(nil), del...), sortedKeys(add)...) {
		if !known[name] {
			bad = append(bad, name)
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("Invalid broker logger(s): %s", strings.Join(bad, ","))
	}
	return alterConfigs(ctx, c.cl, kmsg.ConfigResourceTypeBrokerLogger, broker, changesOf(add, del), false)
}

// Quotas by the kind of entity that may have them.
var (
	clientQuotas = []string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"}
	ipQuotas     = []string{"connection_creation_rate"}
	scramNames   = []string{"SCRAM-SHA-256", "SCRAM-SHA-512"}
)

func unknownQuotas(add map[string]string, del, known []string) []string {
	var bad []string
	for _, name := range append(sortedKeys(add), del...) {
		if !containsString(known, name) {
			bad = append(bad, name)
		}
	}
	return bad
}

// alterClients changes quotas of users and clients, or a user's SCRAM
// credentials.
func (c *configsCommand) alterClients(ctx context.Context, add map[string]string, del []string) error {
	known := append([]string(nil), clientQuotas...)
	what := "Only quota configs can be added for 'clients' using --bootstrap-server. Unexpected config names: %s"
	onlyUser := len(c.entities) == 1 && c.entities[0].kind == "users"
	if onlyUser {
		known = append(known, scramNames...)
		what = "Only quota and SCRAM credential configs can be added for 'users' using --bootstrap-server. Unexpected config names: %s"
	}
	if bad := unknownQuotas(add, del, known); len(bad) > 0 {
		return fmt.Errorf(what, strings.Join(bad, ","))
	}
	scram := unknownQuotas(add, del, clientQuotas)
	switch {
	case len(scram) == 0:
		return c.alterQuotas(ctx, add, del)
	case c.entities[0].name == "":
		return errors.New("The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using --bootstrap-server.")
	case len(scram) < len(add)+len(del):
		return errors.New("Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using --bootstrap-server.")
	}
	return c.alterScram(ctx, add, del)
}

func scramMechanism(name string) kadm.ScramMechanism {
	if name == "SCRAM-SHA-512" {
		return kadm.ScramSha512
	}
	return kadm.ScramSha256
}

func (c *configsCommand) alterScram(ctx context.Context, add map[string]string, del []string) error {
	user := c.entities[0].name
	var deletions []kadm.DeleteSCRAM
	for _, name := range del {
		deletions = append(deletions, kadm.DeleteSCRAM{User: user, Mechanism: scramMechanism(name)})
	}
	var upserts []kadm.UpsertSCRAM
	for _, name := range sortedKeys(add) {
		iterations, password := 4096, add[name]
		if rest, ok := strings.CutPrefix(password, "iterations="); ok {
			number, after, _ := strings.Cut(rest, ",")
			n, err := strconv.Atoi(number)
			if err != nil {
				return fmt.Errorf("Invalid credential property %s=%s", name, add[name])
			}
			if n != -1 {
				iterations = n
			}
			password = after
		}
		password, ok := strings.CutPrefix(password, "password=")
		if !ok {
			return fmt.Errorf("Invalid credential property %s=%s", name, add[name])
		}
		if iterations < 4096 {
			return fmt.Errorf("Iterations %d is less than the minimum 4096 required for %s", iterations, name)
		}
		upserts = append(upserts, kadm.UpsertSCRAM{User: user, Mechanism: scramMechanism(name), Iterations: int32(iterations), Password: password})
	}
	results, err := kadm.NewClient(c.cl).AlterUserSCRAMs(ctx, deletions, upserts)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

var quotaEntityTypes = map[string]string{"users": "user", "clients": "client-id", "ips": "ip"}

func (c *configsCommand) alterQuotas(ctx context.Context, add map[string]string, del []string) error {
	old, err := c.quotas(ctx)
	if err != nil {
		return err
	}
	var bad []string
	for _, key := range del {
		found := false
		for _, q := range old {
			for _, v := range q.Values {
				found = found || v.Key == key
			}
		}
		if !found {
			bad = append(bad, key)
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("Invalid config(s): %s", strings.Join(bad, ","))
	}
	var entry kadm.AlterClientQuotaEntry
	for _, e := range c.entities {
		component := kadm.ClientQuotaEntityComponent{Type: quotaEntityTypes[e.kind]}
		if e.name != "" {
			component.Name = kadm.StringPtr(e.name)
		}
		entry.Entity = append(entry.Entity, component)
	}
	for _, key := range sortedKeys(add) {
		v, err := strconv.ParseFloat(add[key], 64)
		if err != nil {
			return fmt.Errorf("Cannot parse quota configuration value for %s: %s", key, add[key])
		}
		entry.Ops = append(entry.Ops, kadm.AlterClientQuotaOp{Key: key, Value: v})
	}
	for _, key := range del {
		entry.Ops = append(entry.Ops, kadm.AlterClientQuotaOp{Key: key, Remove: true})
	}
	results, err := kadm.NewClient(c.cl).AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{entry})
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// quotas asks for the quotas of exactly the entities' combination.
func (c *configsCommand) quotas(ctx context.Context) (kadm.DescribedClientQuotas, error) {
	var components []kadm.DescribeClientQuotaComponent
	for _, e := range c.entities {
		component := kadm.DescribeClientQuotaComponent{Type: quotaEntityTypes[e.kind], MatchType: kmsg.QuotasMatchTypeAny}
		switch {
		case e.named && e.name == "":
			component.MatchType = kmsg.QuotasMatchTypeDefault
		case e.named:
			component.MatchType = kmsg.QuotasMatchTypeExact
			component.MatchName = kadm.StringPtr(e.name)
		}
		components = append(components, component)
	}
	return kadm.NewClient(c.cl).DescribeClientQuotas(ctx, true, components)
}

func (c *configsCommand) describe(ctx context.Context) error {
	first := c.entities[0]
	switch first.kind {
	case "users", "clients":
		if err := c.describeQuotas(ctx); err != nil {
			return err
		}
		return c.describeScram(ctx)
	case "ips":
		return c.describeQuotas(ctx)
	}
	return c.describeResources(ctx, first)
}

func (c *configsCommand) describeResources(ctx context.Context, e configEntity) error {
	all := c.set.Has("all")
	names := []string{e.name}
	if !e.named {
		var err error
		if names, err = c.resourceNames(ctx, e.kind); err != nil {
			return err
		}
	} else if !all {
		exists, err := c.resourceExists(ctx, e)
		if err != nil {
			return err
		}
		if !exists {
			_, err = fmt.Fprintf(c.out, "The %s '%s' doesn't exist and doesn't have dynamic config.\n", e.kind[:len(e.kind)-1], e.name)
			return err
		}
	}
	for _, name := range names {
		if err := c.describeResource(ctx, e.kind, name, all); err != nil {
			return err
		}
	}
	return nil
}

func (c *configsCommand) describeResource(ctx context.Context, kind, name string, all bool) error {
	resource := configResources[kind]
	entries, err := describeConfigs(ctx, c.cl, resource.kind, name, true)
	if err != nil {
		return err
	}
	source := resource.source
	var b strings.Builder
	switch {
	case name == "":
		fmt.Fprintf(&b, "Default configs for %s in the cluster are:\n", kind)
		source = "DYNAMIC_DEFAULT_BROKER_CONFIG"
	case all:
		fmt.Fprintf(&b, "All configs for %s %s are:\n", kind[:len(kind)-1], name)
	default:
		fmt.Fprintf(&b, "Dynamic configs for %s %s are:\n", kind[:len(kind)-1], name)
	}
	sortConfigs(entries)
	for _, e := range entries {
		if all || source == "" || e.Source == source {
			fmt.Fprintf(&b, "  %s=%s sensitive=%t synonyms={%s}\n", e.Name, e.text(), e.Sensitive, synonymText(e.Synonyms))
		}
	}
	_, err = io.WriteString(c.out, b.String())
	return err
}

// resourceNames lists the entities of a kind; brokers end with their default.
func (c *configsCommand) resourceNames(ctx context.Context, kind string) ([]string, error) {
	var names []string
	switch kind {
	case "topics":
		cluster, err := fetchCluster(ctx, c.cl)
		if err != nil {
			return nil, err
		}
		for _, t := range cluster.topics {
			names = append(names, t.Name)
		}
		return javaHashOrder(names), nil
	case "brokers", "broker-loggers":
		brokers, err := fetchBrokers(ctx, c.cl)
		if err != nil {
			return nil, err
		}
		for _, b := range brokers {
			names = append(names, strconv.Itoa(int(b.NodeID)))
		}
		return append(names, ""), nil
	case "groups":
		groups, err := listGroups(ctx, c.cl, nil, nil)
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			names = append(names, g.ID)
		}
	}
	resources, err := c.configResourceNames(ctx, kind)
	for _, name := range resources {
		if !containsString(names, name) {
			names = append(names, name)
		}
	}
	return names, err
}

// configResourceNames lists resources that have settings, where the broker can.
func (c *configsCommand) configResourceNames(ctx context.Context, kind string) ([]string, error) {
	req := kmsg.NewPtrListConfigResourcesRequest()
	req.ResourceTypes = []int8{int8(configResources[kind].kind)}
	resp, err := ask(ctx, c.cl, req)
	if isUnsupported(err) || errors.Is(err, kerr.ClusterAuthorizationFailed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range resp.ConfigResources {
		names = append(names, r.Name)
	}
	return names, nil
}

func (c *configsCommand) resourceExists(ctx context.Context, e configEntity) (bool, error) {
	if e.name == "" {
		return true, nil
	}
	names, err := c.resourceNames(ctx, e.kind)
	return containsString(names, e.name), err
}

func (c *configsCommand) describeQuotas(ctx context.Context) error {
	quotas, err := c.quotas(ctx)
	if err != nil {
		return err
	}
	for _, q := range quotas {
		var names []string
		for _, kind := range []struct{ of, text string }{{"user", "user-principal"}, {"client-id", "client-id"}, {"ip", "ip"}} {
			for _, component := range q.Entity {
				switch {
				case component.Type != kind.of:
				case component.Name == nil:
					names = append(names, "the default "+kind.text)
				default:
					names = append(names, kind.text+" '"+*component.Name+"'")
				}
			}
		}
		var values []string
		for _, v := range q.Values {
			values = append(values, v.Key+"="+javaFloat(v.Value, 64))
		}
		fmt.Fprintf(c.out, "Quota configs for %s are %s\n", strings.Join(names, ", "), strings.Join(values, ", "))
	}
	return nil
}

// describeScram prints users' SCRAM credentials, unless clients or the default
// user were asked for.
func (c *configsCommand) describeScram(ctx context.Context) error {
	var users []string
	for _, e := range c.entities {
		if e.kind == "clients" || e.named && e.name == "" {
			return nil
		}
		if e.named {
			users = append(users, e.name)
		}
	}
	described, err := kadm.NewClient(c.cl).DescribeUserSCRAMs(ctx, users...)
	if isUnsupported(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, user := range sortedKeys(described) {
		d := described[user]
		if errors.Is(d.Err, kerr.ResourceNotFound) {
			continue
		}
		if d.Err != nil {
			fmt.Fprintf(c.out, "Error retrieving SCRAM credential configs for user-principal '%s': %s: %s\n", user,
				strings.TrimPrefix(exceptionName(d.Err), "org.apache.kafka.common.errors."), message(d.Err))
			continue
		}
		var infos []string
		for _, info := range d.CredInfos {
			infos = append(infos, fmt.Sprintf("%s=iterations=%d", info.Mechanism, info.Iterations))
		}
		fmt.Fprintf(c.out, "SCRAM credential configs for user-principal '%s' are %s\n", user, strings.Join(infos, ", "))
	}
	return nil
}
