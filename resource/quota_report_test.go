package resource_test

import (
	"context"
	"slices"
	"testing"

	"github.com/respool/respool/resource"
)

// reporter is an Admission that reports quotas.
type reporter func() []resource.SharedQuota

func (r reporter) Admit(context.Context, resource.Request) (resource.Done, error) { return nil, nil }
func (r reporter) SharedQuotas() []resource.SharedQuota                           { return r() }

func quotasOf(all ...resource.SharedQuota) reporter {
	return func() []resource.SharedQuota { return all }
}

// Inspect lists the quotas of every field that takes an Admission, each holder of one once.
func TestInspect_Quotas(t *testing.T) {
	account, model := resource.SharedQuota{Name: "account", Holder: "a", Held: 3}, resource.SharedQuota{Name: "model", Holder: "a"}
	other := resource.SharedQuota{Name: "account", Holder: "b"}
	edit := func(h *harness) {
		h.cfg.Admission, h.cfg.MakeGate, h.cfg.Quota = quotasOf(account), quotasOf(other), quotasOf(model, account)
	}
	script(t, 1, edit, func(h *harness) {
		if got, want := h.p.Inspect(0).Quotas, []resource.SharedQuota{account, other, model}; !slices.Equal(got, want) {
			t.Errorf("the quotas are %+v, want %+v", got, want)
		}
	})
	script(t, 1, func(h *harness) { h.cfg.Quota = &stateful{} }, func(h *harness) {
		if got := h.p.Inspect(0).Quotas; got != nil {
			t.Errorf("without a QuotaReporter the quotas are %+v", got)
		}
	})
}

// A panic in SharedQuotas costs that policy's quotas.
func TestI9_SharedQuotas(t *testing.T) {
	edit := func(h *harness) {
		h.cfg.Admission = reporter(func() []resource.SharedQuota { panic("no") })
		h.cfg.Quota = quotasOf(resource.SharedQuota{Name: "account"})
	}
	script(t, 1, edit, func(h *harness) {
		in := h.p.Inspect(0)
		if len(in.Quotas) != 1 || in.Quotas[0].Name != "account" {
			t.Errorf("the quotas are %+v", in.Quotas)
		}
		if got := h.p.Stats().Panics; got != 1 {
			t.Errorf("%d panics were counted, want 1", got)
		}
	})
}

// Inspect of a Keyed lists the quotas of all keys, a shared one once.
func TestKeyedInspect_Quotas(t *testing.T) {
	const keys = 40 // more than those whose Policies are listed
	edit := func(key string, cfg *resource.Config[*keyedItem]) {
		cfg.Quota = quotasOf(resource.SharedQuota{Name: "all"}, resource.SharedQuota{Name: key})
	}
	keyed(t, keys, 1, func(h *keyedHarness) { h.edit = edit }, func(h *keyedHarness) {
		for i := range keys {
			l, err := h.k.Acquire(h.t.Context(), string(rune('A'+i)))
			if err != nil {
				t.Fatal(err)
			}
			l.Release()
		}
		if got := len(h.k.Inspect(0).Quotas); got != keys+1 {
			t.Errorf("%d quotas, want one for each of %d keys and one for all", got, keys)
		}
	})
}
