package config

import (
	"fmt"
	"strings"
)

// Markdown is docs/CONFIGURATION.md: every key with its default and effect,
// written from the tables. A test compares the file with it; scripts or a
// person with UPDATE=1 in the environment of that test rewrite it.
func Markdown() string {
	var b strings.Builder
	b.WriteString(markdownIntro)
	b.WriteString("\n## Keys of Freshet itself\n\n")
	writeTable(&b, freshetDefs, true)
	b.WriteString("\n## Broker keys with an effect\n\n")
	writeTable(&b, selectDefs(brokerTable, Works), true)
	b.WriteString("\n## Topic keys with an effect\n\n")
	b.WriteString("A topic that does not set a key takes it from the broker key in the last column.\n\n")
	writeTopicTable(&b, selectDefs(topicTable, Works))
	b.WriteString("\n## Topic keys without an effect in this version\n\n")
	writeTopicTable(&b, selectDefs(topicTable, NoEffect))
	b.WriteString("\n## Broker keys without an effect in this version\n\n")
	b.WriteString("They are accepted, checked and described, and the broker says at start that they change nothing.\n\n")
	writeTable(&b, selectDefs(brokerTable, NoEffect), false)
	return b.String()
}

const markdownIntro = `# Configuration

Written from the tables of package config; a test fails when this file and the tables disagree.

The configuration is a Kafka server.properties. Later sources win over earlier ones:

1. the default in the tables below
2. the file given to ` + "`freshet start`" + `
3. the environment: ` + "`KAFKA_`" + ` and the key in upper case, where a dot becomes ` + "`_`" + `, an underscore ` + "`__`" + ` and a dash ` + "`___`" + ` (` + "`KAFKA_NUM_PARTITIONS=3`" + `)
4. ` + "`--override key=value`" + `

Above them stand the dynamic values that AlterConfigs sets (` + "`kafka-configs.sh`" + `): for all brokers, for one broker, for one topic.
A key of unknown name is reported at start and ignored, and so is a key that has no effect in this version.
The column "change" says where a broker key can be changed while the broker runs: nowhere (read-only), for one broker (per-broker), or also for all at once (cluster-wide).
`

func selectDefs(table []Def, effect Effect) []Def {
	var selected []Def
	for _, def := range table {
		if def.Effect == effect && !def.Internal() && !strings.HasPrefix(def.Name, "freshet.") {
			selected = append(selected, def)
		}
	}
	return selected
}

func writeTable(b *strings.Builder, defs []Def, changes bool) {
	if changes {
		b.WriteString("| key | type | default | valid | change | meaning |\n|---|---|---|---|---|---|\n")
	} else {
		b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
	}
	for i := range defs {
		def := &defs[i]
		fmt.Fprintf(b, "| `%s` | %s | %s |", def.Name, strings.ToLower(def.Type.String()), defaultCell(def))
		if changes {
			fmt.Fprintf(b, " %s | %s |", cell(def.ValidValues()), def.Update)
		}
		fmt.Fprintf(b, " %s |\n", cell(def.Doc))
	}
}

func writeTopicTable(b *strings.Builder, defs []Def) {
	b.WriteString("| key | type | default | valid | meaning | broker key |\n|---|---|---|---|---|---|\n")
	for i := range defs {
		def := &defs[i]
		names := make([]string, len(topicSynonyms[def.Name]))
		for j, name := range topicSynonyms[def.Name] {
			names[j] = "`" + name + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", def.Name, strings.ToLower(def.Type.String()),
			defaultCell(def), cell(def.ValidValues()), cell(def.Doc), strings.Join(names, ", "))
	}
}

func defaultCell(def *Def) string {
	text, ok := def.Default()
	switch {
	case !ok:
		return "none"
	case text == "":
		return "empty"
	}
	return "`" + cell(text) + "`"
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
