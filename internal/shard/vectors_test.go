package shard_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/circular-trade/circular-trade/internal/shard"
)

type vectors struct {
	IntKeys []struct {
		Key        int64  `json:"key"`
		RoutingKey string `json:"routing_key"`
		Hash16     int16  `json:"hash16"`
	} `json:"int_keys"`
	IRIKeys []struct {
		IRI        string `json:"iri"`
		RoutingKey string `json:"routing_key"`
	} `json:"iri_keys"`
	Realms []struct {
		BindingKey  string `json:"binding_key"`
		IntKey      int64  `json:"int_key"`
		Match       bool   `json:"match"`
		MatchParent bool   `json:"match_parent"`
		HashMask    int16  `json:"hash16_mask"`
		HashPrefix  int16  `json:"hash16_prefix"`
	} `json:"realms"`
	HexKeys []struct {
		Key        int64  `json:"key"`
		RoutingKey string `json:"routing_key"`
	} `json:"hex_keys"`
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	text, err := os.ReadFile("testdata/sharding.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.IntKeys) == 0 || len(v.IRIKeys) == 0 || len(v.Realms) == 0 || len(v.HexKeys) == 0 {
		t.Fatal("the vectors have an empty section")
	}
	return v
}

func TestVectors(t *testing.T) {
	t.Parallel()
	v := readVectors(t)
	for _, row := range v.IntKeys {
		key := shard.KeyOf(row.Key)
		if key.RoutingKey() != row.RoutingKey || key.Hash16() != row.Hash16 {
			t.Errorf("%d: %s and %d, want %s and %d", row.Key, key.RoutingKey(), key.Hash16(), row.RoutingKey, row.Hash16)
		}
	}
	for _, row := range v.IRIKeys {
		if got := shard.KeyOfString(row.IRI).RoutingKey(); got != row.RoutingKey {
			t.Errorf("%q: %s, want %s", row.IRI, got, row.RoutingKey)
		}
	}
	for _, row := range v.Realms {
		realm := mustParse(t, row.BindingKey)
		if got, want := owns(realm, shard.KeyOf(row.IntKey)), (ownership{row.Match, row.MatchParent}); got != want {
			t.Errorf("%d in %v: %v, want %v", row.IntKey, realm, got, want)
		}
		if realm.HashMask() != row.HashMask || realm.HashPrefix() != row.HashPrefix {
			t.Errorf("%v: %d and %d, want %d and %d",
				realm, realm.HashMask(), realm.HashPrefix(), row.HashMask, row.HashPrefix)
		}
	}
	for _, row := range v.HexKeys {
		if got := shard.HexRoutingKey(row.Key); got != row.RoutingKey {
			t.Errorf("%d: %s, want %s", row.Key, got, row.RoutingKey)
		}
	}
}
