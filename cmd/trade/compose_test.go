package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/jackc/pgx/v5"

	"github.com/circular-trade/circular-trade/internal/config"
	"github.com/circular-trade/circular-trade/internal/testenv"
)

const repository = "../.."

// loadCompose reads the compose file as Compose does, and checks it against the schema.
func loadCompose(t *testing.T, content []byte) (*types.Project, error) {
	t.Helper()
	directory, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	return loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  directory,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(directory, "compose.yaml"), Content: content}},
	}, func(o *loader.Options) { o.SetProjectName("trade", true) })
}

func mustLoadCompose(t *testing.T) *types.Project {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := loadCompose(t, content)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// ours tells whether a service runs the image that is built here.
func ours(s types.ServiceConfig) bool { return s.Build != nil }

func TestComposeFile(t *testing.T) {
	t.Parallel()
	if _, err := loadCompose(t, []byte("services: {trade: {image: x, comand: [worker]}}")); err == nil {
		t.Error("the schema is not checked")
	}
	project := mustLoadCompose(t)
	if want := []string{
		"postgres", "rabbitmq", "trade-config", "trade-solver", "trade-webserver", "trade-worker", "world",
	}; !slices.Equal(project.ServiceNames(), want) {
		t.Errorf("the services are %q, want %q", project.ServiceNames(), want)
	}
	pinned := regexp.MustCompile(`^[a-z]+:[0-9.]+-alpine@sha256:[0-9a-f]{64}$`)
	for name, s := range project.Services {
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s has privileges", name)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s opens port %s to others", name, port.Published)
			}
		}
		for _, volume := range s.Volumes {
			if _, err := os.Stat(volume.Source); err != nil || !volume.ReadOnly {
				t.Errorf("%s has the volume %+v, %v", name, volume, err)
			}
		}
		switch {
		case !ours(s):
			if !pinned.MatchString(s.Image) || s.User == "" {
				t.Errorf("%s runs %s as %q", name, s.Image, s.User)
			}
		case !s.ReadOnly || s.User != "" || s.Restart != "":
			t.Errorf("%s can write to its file system, runs as %q, or is restarted", name, s.User)
		default:
			for variable := range s.Environment {
				if _, known := config.Lookup(variable); !known {
					t.Errorf("%s has the unknown variable %s", name, variable)
				}
			}
		}
	}
}

// ldflags returns what the Dockerfile has the linker do, for some version.
func ldflags(t *testing.T, version string) string {
	t.Helper()
	dockerfile, err := os.ReadFile(filepath.Join(repository, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`-ldflags="(.*)"`).FindSubmatch(dockerfile)
	if flags == nil {
		t.Fatal("there are no -ldflags in the Dockerfile")
	}
	return strings.ReplaceAll(string(flags[1]), "$VERSION", version)
}

// installImage makes a directory with those programs that the image has in /usr/local/bin.
func installImage(t *testing.T, version string) (bin string) {
	t.Helper()
	bin = t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags="+ldflags(t, version), "-o", bin, ".")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, output)
	}
	script, err := os.ReadFile(entryPoint)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "entrypoint.sh"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	return bin
}

// A container is a process with the command and the environment of a service in the compose file. Only addresses are
// others, because all share one machine here.
type container struct {
	name   string
	cmd    *exec.Cmd
	ended  chan struct{}
	checks string // URL of the health check; empty: there is none

	mu     sync.Mutex
	output bytes.Buffer
}

// Write takes what the process says.
func (c *container) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.output.Write(p)
}

func (c *container) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.output.String()
}

// A site is where the services of the compose file are in a test.
type site struct {
	bin       string
	addresses *strings.Replacer // for those in the compose file that all services share
	website   string            // host:port of the issuers
}

// run starts a service.
func (s *site) run(t *testing.T, service types.ServiceConfig) *container {
	t.Helper()
	c := &container{name: service.Name, ended: make(chan struct{})}
	port := testenv.FreePort(t) // of the status server, or the web server: none has both
	args := slices.Clone([]string(service.Command))
	for i := range args {
		switch {
		case i > 0 && args[i-1] == "--listen":
			args[i] = s.website
		case i > 0 && args[i-1] == "--host":
			args[i] = "localhost"
		}
	}
	c.cmd = exec.CommandContext(t.Context(), filepath.Join(s.bin, "entrypoint.sh"), args...)
	c.cmd.Env = []string{"PATH=" + s.bin + ":/usr/bin:/bin"}
	for name, value := range service.Environment {
		text := s.addresses.Replace(*value)
		if name == "APP_STATUS_PORT" || name == "WEBSERVER_PORT" {
			text = strconv.Itoa(port)
		}
		c.cmd.Env = append(c.cmd.Env, name+"="+text)
	}
	if service.HealthCheck != nil {
		check, err := url.Parse(service.HealthCheck.Test[len(service.HealthCheck.Test)-1])
		if err != nil {
			t.Fatal(err)
		}
		check.Host = fmt.Sprintf("127.0.0.1:%d", port)
		c.checks = check.String()
	}
	c.cmd.Stdout, c.cmd.Stderr = c, c
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait() // the state tells
	}()
	t.Cleanup(func() {
		<-c.ended
		if t.Failed() {
			t.Logf("%s:\n%s", c.name, c.said())
		}
	})
	return c
}

// awaitWords waits until the process has said something that an expression matches.
func (c *container) awaitWords(t *testing.T, expression string) {
	t.Helper()
	wanted := regexp.MustCompile(expression)
	testenv.Eventually(t, 3*time.Minute, func() error {
		if !wanted.MatchString(c.said()) {
			return fmt.Errorf("%s has not said %q", c.name, expression)
		}
		return nil
	})
}

// awaitEnd waits until the process has ended, as it must within some time, with status 0.
func (c *container) awaitEnd(t *testing.T, limit time.Duration) {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(limit):
		t.Fatalf("%s has not ended in %v", c.name, limit)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%s has ended with status %d", c.name, code)
	}
}

// stop asks the process to end.
func (c *container) stop(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stopping %s: %v", c.name, err)
	}
}

// fetchText gets a page, whose status must be 200.
func fetchText(t *testing.T, address string) (string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status + ": " + string(text))
	}
	return string(text), err
}

// initializePostgres does what the PostgreSQL image does with an empty database.
func initializePostgres(t *testing.T, server string, service types.ServiceConfig) {
	t.Helper()
	execute := func(database, statements string) {
		config, err := pgx.ParseConfig(server)
		if err != nil {
			t.Fatal(err)
		}
		if database != "" {
			config.Database = database
		}
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		if _, err := conn.Exec(t.Context(), statements, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", statements, err)
		}
	}
	database := *service.Environment["POSTGRES_DB"]
	execute("", "CREATE DATABASE "+database)
	for _, volume := range service.Volumes {
		if strings.HasPrefix(volume.Target, "/docker-entrypoint-initdb.d/") {
			statements, err := os.ReadFile(volume.Source)
			if err != nil {
				t.Fatal(err)
			}
			execute(database, string(statements))
		}
	}
}

// All services of the compose file are started at the same moment, as processes, before their servers answer. Nothing
// else is done, and a turn happens.
func TestComposedServicesTrade(t *testing.T) {
	t.Parallel()
	const version = "1.2.3-test"
	bin := installImage(t, version)
	project := mustLoadCompose(t)
	server := testenv.StartPostgres(t)
	postgres, rabbitmq := testenv.NewProxy(t, server.URL()), testenv.NewProxy(t, testenv.NewVirtualHost(t))
	postgres.Refuse()
	rabbitmq.Refuse()
	website := net.JoinHostPort("localhost", strconv.Itoa(testenv.FreePort(t)))
	place := site{bin: bin, website: website, addresses: strings.NewReplacer(
		"postgres:5432", postgres.Addr(), "amqp://trade:trade@rabbitmq:5672", rabbitmq.URL(), "world:44302", website,
	)}
	containers := map[string]*container{}
	for name, service := range project.Services {
		if ours(service) {
			containers[name] = place.run(t, service)
		}
	}
	world, configuring := containers["world"], containers["trade-config"]
	servers := []*container{containers["trade-solver"], containers["trade-worker"], containers["trade-webserver"]}

	initializePostgres(t, server.URL(), project.Services["postgres"])
	world.awaitWords(t, "waiting for the broker")
	configuring.awaitWords(t, "trying again")
	postgres.Accept()
	rabbitmq.Accept()
	configuring.awaitEnd(t, time.Minute)

	// What the compose file tells the solver is what the world says.
	base := place.addresses.Replace(*project.Services["trade-solver"].Environment["BASE_DEBTOR_INFO_LOCATOR"])
	world.awaitWords(t, regexp.QuoteMeta("BASE_DEBTOR_INFO_LOCATOR="+base+"\n"))
	world.awaitWords(t, "BASE_DEBTOR_ID="+*project.Services["trade-solver"].Environment["BASE_DEBTOR_ID"]+"\n")

	world.awaitWords(t, `Turn \d+: in [1-9]\d* currencies, [1-9]\d* sellers have given, .* [1-9]\d* buyers have got`)
	for _, c := range servers {
		testenv.Eventually(t, time.Minute, func() error {
			_, err := fetchText(t, c.checks)
			return err
		})
	}
	wantWorker(t, containers["trade-webserver"], version)

	world.stop(t)
	world.awaitEnd(t, time.Duration(*project.Services["world"].StopGracePeriod))
	for _, text := range []string{"M1   holds", "C9   holds"} {
		if !strings.Contains(world.said(), text) {
			t.Errorf("the world does not say %q", text)
		}
	}
	if strings.Contains(world.said(), "has not come to rest") {
		t.Error("the world has not come to rest")
	}
	for _, c := range servers {
		c.stop(t)
	}
	for _, c := range servers {
		c.awaitEnd(t, 8*time.Second)
	}
}

// wantWorker asks the admin API for workers. There must be one, of the right version.
func wantWorker(t *testing.T, webserver *container, version string) {
	t.Helper()
	address, err := url.Parse(webserver.checks)
	if err != nil {
		t.Fatal(err)
	}
	address.Path = "/trade/workers"
	text, err := fetchText(t, address.String())
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Workers []struct{ RoutingKey, Version string }
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Workers) != 1 || list.Workers[0].RoutingKey != "#" ||
		!strings.HasPrefix(list.Workers[0].Version, version+" (go") {
		t.Errorf("the workers are %+v", list.Workers)
	}
}
