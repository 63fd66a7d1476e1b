package deployment_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// A cluster is what the manifests ask for.
type cluster struct {
	deployments map[string]*appsv1.Deployment
	variables   map[string]map[string]string // of config maps and secrets
	monitor     *monitoringv1.PodMonitor
	services    map[string]*corev1.Service
	policies    map[string]*networkingv1.NetworkPolicy
}

// manifests are a copy of the manifests, which operators change as they are told.
type manifests string

func copyManifests(t *testing.T) manifests {
	t.Helper()
	directory := t.TempDir()
	if err := os.CopyFS(directory, os.DirFS("../../deploy/kubernetes")); err != nil {
		t.Fatal(err)
	}
	return manifests(directory)
}

// edit replaces a text, which must be there once, in the kustomization of a directory.
func (m manifests) edit(t *testing.T, directory, old, replacement string) {
	t.Helper()
	name := filepath.Join(string(m), directory, "kustomization.yaml")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), old); n != 1 {
		t.Fatalf("%s has %d times\n%s", name, n, old)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(text), old, replacement, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// addShard adds the shard 1, a copy of the shard 0.
func (m manifests) addShard(t *testing.T) {
	t.Helper()
	example := filepath.Join(string(m), "example")
	if err := os.CopyFS(filepath.Join(example, "shard-1"), os.DirFS(filepath.Join(example, "shard-0"))); err != nil {
		t.Fatal(err)
	}
	m.edit(t, "example/shard-1", `"-0"`, `"-1"`)
	m.edit(t, "example/shard-1", `"0"`, `"1"`)
	m.edit(t, "example", "  - shard-0\n", "  - shard-0\n  - shard-1\n")
}

// build builds the example. Whatever Kubernetes would not know is a failure.
func (m manifests) build(t *testing.T) *cluster {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).
		Run(filesys.MakeFsOnDisk(), filepath.Join(string(m), "example"))
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		deployments: map[string]*appsv1.Deployment{}, variables: map[string]map[string]string{},
		services: map[string]*corev1.Service{}, policies: map[string]*networkingv1.NetworkPolicy{},
	}
	for _, resource := range resources.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		kind, name := resource.GetGvk().String(), resource.GetName()
		into := func(object any) {
			if err := yaml.UnmarshalStrict(text, object); err != nil {
				t.Fatalf("%s %s: %v", kind, name, err)
			}
		}
		switch kind {
		case "Deployment.v1.apps":
			c.deployments[name] = &appsv1.Deployment{}
			into(c.deployments[name])
		case "ConfigMap.v1.[noGrp]":
			var m corev1.ConfigMap
			into(&m)
			c.variables[name] = m.Data
		case "Secret.v1.[noGrp]":
			var secret corev1.Secret
			into(&secret)
			c.variables[name] = map[string]string{}
			for variable, value := range secret.Data {
				c.variables[name][variable] = string(value)
			}
		case "Service.v1.[noGrp]":
			c.services[name] = &corev1.Service{}
			into(c.services[name])
		case "PodMonitor.v1.monitoring.coreos.com":
			c.monitor = &monitoringv1.PodMonitor{}
			into(c.monitor)
		case "Namespace.v1.[noGrp]":
			into(&corev1.Namespace{})
		case "Ingress.v1.networking.k8s.io":
			into(&networkingv1.Ingress{})
		case "NetworkPolicy.v1.networking.k8s.io":
			c.policies[name] = &networkingv1.NetworkPolicy{}
			into(c.policies[name])
		case "PodDisruptionBudget.v1.policy":
			into(&policyv1.PodDisruptionBudget{})
		default:
			t.Errorf("%s %s is not expected here", kind, name)
		}
	}
	return c
}

// A workload is what a deployment has to be.
type workload struct {
	args     string
	init     []string
	replicas int32
	recreate bool
	zeros    bool // all that other deployments do is switched off
}

var workloads = map[string]workload{
	"trade-solver":                 {args: "solver", init: []string{"configure solver"}, replicas: 1, recreate: true},
	"trade-web-server":             {args: "webserver", init: []string{"configure solver"}, replicas: 2},
	"turn-roller-0":                {"worker", []string{"configure worker", "await_migrations"}, 1, true, true},
	"messages-consumer-0":          {args: "consume_messages", init: []string{"await_migrations"}, replicas: 1},
	"messages-drainer-0":           {args: "consume_messages --draining-mode", init: []string{"await_migrations"}},
	"internal-messages-consumer-0": {args: "consume_internal_messages", init: []string{"await_migrations"}, replicas: 1},
	"internal-messages-drainer-0":  {args: "consume_internal_messages --draining-mode", init: []string{"await_migrations"}},
	"messages-flusher-0":           {args: "flush_all", init: []string{"await_migrations"}, replicas: 1},
	"http-fetcher-0":               {args: "fetch_debtor_infos", init: []string{"await_migrations"}, replicas: 1},
	"transfers-triggerer-0":        {args: "trigger_transfers", init: []string{"await_migrations"}, replicas: 1},
}

// The workloads are those of the deployment contract, and their pods can do nothing that they need not.
func TestWorkloads(t *testing.T) {
	t.Parallel()
	c := copyManifests(t).build(t)
	if len(c.deployments) != len(workloads) {
		t.Errorf("there are %d deployments, want %d", len(c.deployments), len(workloads))
	}
	for name, want := range workloads {
		d := c.deployments[name]
		if d == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		pod := &d.Spec.Template.Spec
		got := workload{
			args: strings.Join(pod.Containers[0].Args, " "), replicas: *d.Spec.Replicas,
			recreate: d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType, zeros: true,
		}
		for _, container := range pod.InitContainers {
			got.init = append(got.init, strings.Join(container.Args, " "))
		}
		environment := c.environment(t, &pod.Containers[0])
		for _, part := range []string{"PROTOCOL_BROKER", "INTERNAL_BROKER", "FLUSH", "HTTP_FETCH", "TRIGGER_TRANSFERS"} {
			got.zeros = got.zeros && environment[part+"_PROCESSES"] == "0"
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
		checkPod(t, name, pod)
	}
}

// checkPod checks what all pods have in common.
func checkPod(t *testing.T, name string, pod *corev1.PodSpec) {
	t.Helper()
	if s := pod.SecurityContext; s == nil || !*s.RunAsNonRoot || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault ||
		*pod.AutomountServiceAccountToken || *pod.TerminationGracePeriodSeconds < 10 || len(pod.Containers) != 1 {
		t.Errorf("%s: its pods are not confined, or have no time to end", name)
	}
	containers := slices.Concat(pod.InitContainers, pod.Containers)
	for i := range containers {
		container := &containers[i]
		s := container.SecurityContext
		if s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || fmt.Sprint(s.Capabilities.Drop) != "[ALL]" {
			t.Errorf("%s: %s is not confined", name, container.Name)
		}
		if container.Resources.Limits.Memory().IsZero() || container.Resources.Requests.Memory().IsZero() {
			t.Errorf("%s: %s has no limit", name, container.Name)
		}
		if !strings.HasPrefix(container.Image, "ghcr.io/example/circular-trade:") {
			t.Errorf("%s: %s has the image %s", name, container.Name, container.Image)
		}
	}
	main := &pod.Containers[0]
	live, ready := main.LivenessProbe, main.ReadinessProbe
	if name == "trade-web-server" {
		const path = "/trade/health/check/public"
		if live.HTTPGet.Path != path || live.InitialDelaySeconds != 30 || live.PeriodSeconds != 30 || live.TimeoutSeconds != 10 ||
			live.FailureThreshold != 5 || ready.HTTPGet.Path != path || ready.InitialDelaySeconds != 5 ||
			portOf(main, ready.HTTPGet.Port.String()) != 8080 || portOf(main, live.HTTPGet.Port.String()) != 8080 {
			t.Errorf("%s has the probes %v and %v", name, live, ready)
		}
	} else if live.HTTPGet.Path != "/healthz" || ready.HTTPGet.Path != "/readyz" ||
		portOf(main, ready.HTTPGet.Port.String()) != 9090 || portOf(main, live.HTTPGet.Port.String()) != 9090 {
		t.Errorf("%s has the probes %v and %v", name, live, ready)
	}
	for _, variable := range main.Env {
		if variable.Name == "APP_STATUS_PORT" && variable.Value == strconv.Itoa(int(portOf(main, "status"))) {
			return
		}
	}
	t.Errorf("%s does not serve its status where it says", name)
}

func portOf(container *corev1.Container, name string) int32 {
	for _, port := range container.Ports {
		if port.Name == name {
			return port.ContainerPort
		}
	}
	return 0
}

// Prometheus, if there is its operator, and the service find the pods.
func TestSelectors(t *testing.T) {
	t.Parallel()
	m := copyManifests(t)
	if m.build(t).monitor != nil {
		t.Error("there is a PodMonitor, which clusters without the operator refuse")
	}
	m.edit(t, "example", "\n# components: [../pod-monitor]\n", "\ncomponents: [../pod-monitor]\n")
	c := m.build(t)
	for name, d := range c.deployments {
		if fmt.Sprint(d.Spec.Selector.MatchLabels) != fmt.Sprint(d.Spec.Template.Labels) {
			t.Errorf("%s does not select its pods", name)
		}
		for label, value := range c.monitor.Spec.Selector.MatchLabels {
			if d.Spec.Template.Labels[label] != value {
				t.Errorf("the pods of %s are not monitored", name)
			}
		}
		if _, isShard := d.Spec.Template.Labels["circular-trade/shard"]; isShard != strings.HasSuffix(name, "-0") {
			t.Errorf("%s belongs to the wrong shard", name)
		}
	}
	for label, value := range c.services["trade-web-server"].Spec.Selector {
		if c.deployments["trade-web-server"].Spec.Template.Labels[label] != value {
			t.Error("the service does not find the web server")
		}
	}
	// The alerts about processes that do not answer know the job by this name.
	if !strings.Contains(c.monitor.Name, "circular-trade") {
		t.Errorf("the job is called %s", c.monitor.Name)
	}
}

// Nobody gets to the pods but for their status, and to the admin API from where the ingress controller is.
func TestNetworkPolicies(t *testing.T) {
	t.Parallel()
	c := copyManifests(t).build(t)
	if len(c.policies) != 2 {
		t.Fatalf("there are %d network policies", len(c.policies))
	}
	for _, d := range c.deployments {
		checkPolicy(t, c.policies["circular-trade"], d, true, "status")
	}
	for name, d := range c.deployments {
		checkPolicy(t, c.policies["trade-web-server"], d, name == "trade-web-server", "http")
	}
	if from := c.policies["circular-trade"].Spec.Ingress[0].From; len(from) != 0 {
		t.Errorf("Prometheus has to be in %v", from)
	}
	from := c.policies["trade-web-server"].Spec.Ingress[0].From
	if len(from) != 1 || from[0].NamespaceSelector == nil || from[0].PodSelector != nil || from[0].IPBlock != nil ||
		from[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] != "ingress-nginx" {
		t.Errorf("requests to the admin API may come from %v", from)
	}
}

// checkPolicy checks whether a policy applies to the pods of a deployment, and that it lets others in at one port.
func checkPolicy(t *testing.T, policy *networkingv1.NetworkPolicy, d *appsv1.Deployment, applies bool, port string) {
	t.Helper()
	selects := true
	for label, value := range policy.Spec.PodSelector.MatchLabels {
		selects = selects && d.Spec.Template.Labels[label] == value
	}
	if selects != applies {
		t.Errorf("the policy %s applies to %s: %t", policy.Name, d.Name, selects)
	}
	if s := policy.Spec; len(s.Ingress) != 1 || len(s.Ingress[0].Ports) != 1 || s.Ingress[0].Ports[0].Port.String() != port ||
		!slices.Equal(s.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}) ||
		applies && portOf(&d.Spec.Template.Spec.Containers[0], port) == 0 {
		t.Errorf("the policy %s lets others in at %v", policy.Name, s.Ingress)
	}
}

// environment returns exactly the variables that a container gets.
func (c *cluster) environment(t *testing.T, container *corev1.Container) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, from := range container.EnvFrom {
		var name string
		switch {
		case from.ConfigMapRef != nil:
			name = from.ConfigMapRef.Name
		case from.SecretRef != nil:
			name = from.SecretRef.Name
		}
		source, found := c.variables[name]
		if !found {
			t.Fatalf("%s gets variables from %q, which is not there", container.Name, name)
		}
		for variable, value := range source {
			if _, twice := got[variable]; twice {
				t.Errorf("%s gets %s twice", container.Name, variable)
			}
			got[variable] = value
		}
	}
	for _, variable := range container.Env {
		got[variable.Name] = variable.Value
	}
	return got
}

// Every container runs a command that there is, with variables that there are, and with all that it needs.
func TestContainersAreConfigured(t *testing.T) {
	t.Parallel()
	c, program := copyManifests(t).build(t), filepath.Join(t.TempDir(), "trade")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "../..", "-o", program, "./cmd/trade")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	all, _, err := show(t, program, nil)
	if err != nil || len(all) < 100 {
		t.Fatalf("there are %d variables, %v", len(all), err)
	}
	for name, d := range c.deployments {
		pod := &d.Spec.Template.Spec
		containers := slices.Concat(pod.InitContainers, pod.Containers)
		for i := range containers {
			container := &containers[i]
			environment := c.environment(t, container)
			for variable := range environment {
				if _, known := all[variable]; !known {
					t.Errorf("%s: %s gets %s, which nobody looks at", name, container.Name, variable)
				}
			}
			if output, err := exec.CommandContext(t.Context(), program, append(container.Args, "--help")...).CombinedOutput(); err != nil {
				t.Errorf("%s: %s has wrong arguments: %s", name, container.Name, output)
			}
			isFlag := func(arg string) bool { return strings.HasPrefix(arg, "-") }
			shown, output, err := show(t, program, environment, slices.DeleteFunc(slices.Clone(container.Args), isFlag)...)
			if err != nil || strings.Contains(output, "warning") {
				t.Errorf("%s: %s cannot run with what it gets: %v, %s", name, container.Name, err, output)
			}
			for variable, origin := range shown {
				if _, set := environment[variable]; set && origin != "environment" && environment[variable] != "" {
					t.Errorf("%s: %s has %s from the %s", name, container.Name, variable, origin)
				}
			}
		}
	}
}

// show asks a program for the settings of a command. It returns where the value of each variable comes from.
func show(
	t *testing.T, program string, environment map[string]string, args ...string,
) (origins map[string]string, problems string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append([]string{"config"}, args...)...)
	cmd.Env = []string{}
	for name, value := range environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	origins = map[string]string{}
	for line := range strings.Lines(stdout.String()) {
		if fields := strings.Fields(line); len(fields) > 1 {
			origins[fields[0]] = fields[1]
		}
	}
	return origins, stderr.String(), err
}
