package resource

import (
	"fmt"
	"slices"
	"strings"

	"github.com/respool/respool/internal/settings"
)

// Setting is one field of a configuration, in a form that may be shown.
type Setting struct {
	Of      string // the type that has the field: "resource.Config"
	Name    string // of the field
	Value   string // a number or duration as it is, of a function its name, of a policy its type; no secret
	Default bool   // the field has the value that the zero configuration gives it
}

// settingsOf returns the settings of a pool with c, whose maximum is now most: the result of
// Config.Settings or, if that is nil, the fields of c, which has its defaults. It contains a
// panic of Config.Settings.
func settingsOf[T any](c *Config[T], g *guard, most int) []Setting {
	var all []Setting
	if c.Settings == nil {
		filled := *c
		if filled.SampleLeases == 0 {
			filled.SampleLeases = DefaultSampleLeases
		}
		zero := Config[T]{SampleLeases: DefaultSampleLeases}.withDefaults()
		for _, f := range settings.Of(*c, filled, zero, "Settings") {
			all = append(all, Setting{"resource.Config", f.Name, f.Value, f.Default})
		}
	} else if g.call("Settings", func() { all = slices.Clone(c.Settings()) }) != nil {
		return nil
	}
	for i := range all {
		if all[i].Name == "MaxSize" && most != c.MaxSize {
			all[i].Value = fmt.Sprintf("%s, resized to %d", all[i].Value, most)
		}
	}
	return all
}

// keyedSettings returns the settings of c, and those of the pools of several keys, each
// once: the values of a setting that differs between the keys are listed.
func keyedSettings[K comparable, T any](c *KeyedConfig[K, T], total int, keys [][]Setting) []Setting {
	filled, zero := *c, KeyedConfig[K, T]{ForgetAfter: DefaultForgetAfter}
	if filled.ForgetAfter == 0 {
		filled.ForgetAfter = DefaultForgetAfter
	}
	var all []Setting
	for _, f := range settings.Of(*c, filled, zero) {
		if f.Name == "MaxTotal" && total != c.MaxTotal {
			f.Value = fmt.Sprintf("%s, resized to %d", f.Value, total)
		}
		all = append(all, Setting{"resource.KeyedConfig", f.Name, f.Value, f.Default})
	}
	type field struct{ of, name string }
	values := make(map[field][]string)
	var order []Setting // the first of each field
	byDefault := make(map[field]bool)
	for _, some := range keys {
		for _, s := range some {
			at := field{s.Of, s.Name}
			if values[at] == nil {
				order = append(order, s)
				byDefault[at] = true
			}
			byDefault[at] = byDefault[at] && s.Default
			if !slices.Contains(values[at], s.Value) {
				values[at] = append(values[at], s.Value)
			}
		}
	}
	for _, s := range order {
		at := field{s.Of, s.Name}
		s.Default = byDefault[at]
		switch v := values[at]; {
		case len(v) > maxDiffering:
			s.Value = fmt.Sprintf("differs between keys: %s and %d more", strings.Join(v[:maxDiffering], "; "), len(v)-maxDiffering)
		case len(v) > 1:
			s.Value = "differs between keys: " + strings.Join(v, "; ")
		}
		all = append(all, s)
	}
	return all
}

// maxDiffering is how many values of a setting that differs between keys are listed.
const maxDiffering = 3
