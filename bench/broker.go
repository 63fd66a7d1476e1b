package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

// newVirtualHost makes an empty virtual host on the broker that TEST_BROKER_URL leads to. It has to be dropped.
func newVirtualHost(ctx context.Context) (address string, drop func() error, err error) {
	u, err := url.Parse(os.Getenv("TEST_BROKER_URL"))
	if err != nil {
		return "", nil, errors.New("TEST_BROKER_URL is not valid") // it may contain a password
	}
	name := fmt.Sprintf("bench-%d", os.Getpid())
	if _, err := askBroker(ctx, http.MethodPut, []string{"vhosts", name}, nil); err != nil {
		return "", nil, err
	}
	drop = func() error {
		_, err := askBroker(context.WithoutCancel(ctx), http.MethodDelete, []string{"vhosts", name}, nil)
		return err
	}
	everything := map[string]string{"configure": ".*", "write": ".*", "read": ".*"}
	if _, err := askBroker(ctx, http.MethodPut, []string{"permissions", name, u.User.Username()}, everything); err != nil {
		return "", nil, errors.Join(err, drop())
	}
	u.Path = "/" + name
	return u.String(), drop, nil
}

// askBroker sends a request to the broker's management API, which TEST_BROKER_MANAGEMENT_URL leads to.
func askBroker(ctx context.Context, method string, path []string, body any) (answer []byte, err error) {
	server, err := url.Parse(os.Getenv("TEST_BROKER_MANAGEMENT_URL"))
	if err != nil || server.Host == "" {
		return nil, errors.New("TEST_BROKER_MANAGEMENT_URL is not valid")
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	at := server.JoinPath(append([]string{"api"}, path...)...)
	at.User = nil
	//nolint:gosec // whoever runs this decides what is asked
	request, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	password, _ := server.User.Password()
	request.SetBasicAuth(server.User.Username(), password)
	response, err := http.DefaultClient.Do(request) //nolint:gosec // as above
	if err != nil {
		return nil, err
	}
	answer, err = io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	if response.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%s %s: %s: %s", method, at.Path, response.Status, answer)
	}
	return answer, nil
}
