package deployment_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
)

// secretsOf returns the names of the secrets that the containers of a deployment get, each once.
func secretsOf(d *appsv1.Deployment) []string {
	var names []string
	containers := slices.Concat(d.Spec.Template.Spec.InitContainers, d.Spec.Template.Spec.Containers)
	for i := range containers {
		for _, from := range containers[i].EnvFrom {
			if from.SecretRef != nil {
				names = append(names, from.SecretRef.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Each shard gets the secret that is generated for it.
func TestGeneratedSecrets(t *testing.T) {
	t.Parallel()
	m := copyManifests(t)
	m.addShard(t)
	password := filepath.Join(string(m), "example", "shard-1", "change-me.env")
	if err := os.WriteFile(password, []byte("WORKER_POSTGRES_URL=postgresql://of-shard-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := m.build(t)
	for name, d := range c.deployments {
		var urls []string
		for _, secret := range secretsOf(d) {
			values, found := c.variables[secret]
			if !found {
				t.Errorf("%s gets variables from %s, which is not there", name, secret)
			}
			if url, found := values["WORKER_POSTGRES_URL"]; found {
				urls = append(urls, url)
			}
		}
		_, shard := d.Spec.Template.Labels["circular-trade/shard"]
		switch {
		case !shard && len(urls) == 0:
		case strings.HasSuffix(name, "-0") && len(urls) == 1 && strings.Contains(urls[0], "trade-worker-0-db"):
		case strings.HasSuffix(name, "-1") && len(urls) == 1 && strings.Contains(urls[0], "of-shard-1"):
		default:
			t.Errorf("%s has the databases %q", name, urls)
		}
	}
}

// Secrets that are made by something else have the names that operators are told.
func TestSecretsOfOthers(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	m := copyManifests(t)
	const generator = "secretGenerator:\n  - name: %s\n    envs: [change-me.env]\n"
	m.edit(t, "example", fmt.Sprintf(generator, "trade-solver-database"), "")
	m.edit(t, "example/shard-0", fmt.Sprintf(generator, "trade-shard"), "")
	m.edit(t, "example/shard-0", "  - ../../shard\n", "  - ../../shard\n  - ../../shard-secret\n")
	m.addShard(t)
	c := m.build(t)
	for name, d := range c.deployments {
		want := []string{"trade-solver-database"}
		if shard, found := d.Spec.Template.Labels["circular-trade/shard"]; found {
			want = []string{"trade-shard-" + shard, "trade-solver-database"}
		}
		if got := secretsOf(d); !slices.Equal(got, want) {
			t.Errorf("%s gets the secrets %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"trade-solver-database", "trade-shard-0"} {
		if _, found := c.variables[name]; found {
			t.Errorf("the secret %s is made here, too", name)
		}
		if !strings.Contains(string(guide), "kubectl create secret generic "+name+" --namespace trade ") {
			t.Errorf("nobody is told to make the secret %s", name)
		}
	}
}
