package config

import "regexp"

// WebServer is about serving the admin API.
type WebServer struct {
	// Port of the admin API, on all interfaces.
	Port int `env:"WEBSERVER_PORT" default:"8080" validate:"gte=1,lte=65535"`
	// Requests served at the same time: the product of processes and threads. Others wait.
	Processes int `env:"WEBSERVER_PROCESSES" default:"1" validate:"gte=0"`
	// See WEBSERVER_PROCESSES.
	Threads int `env:"WEBSERVER_THREADS" default:"3" validate:"gte=1"`
	// Has no effect: cross-origin requests are always allowed.
	EnableCORS bool `env:"APP_ENABLE_CORS" default:"false"`
	// Where the files of Swagger UI are. Set: its page is served.
	SwaggerUIURL WebURL `env:"OPENAPI_SWAGGER_UI_URL"`
}

// AdminAccess says who may use the admin API.
type AdminAccess struct {
	// Where OAuth tokens are introspected (RFC 7662). Required, unless APP_UNPROTECTED_ADMIN_API is true.
	IntrospectURL WebURL `env:"OAUTH2_INTROSPECT_URL" required:"missing" unless:"APP_UNPROTECTED_ADMIN_API"`
	// Identity of superusers.
	SuperuserName string `env:"OAUTH2_SUPERUSER_USERNAME" default:"creditors-superuser"`
	// Identity of supervisors.
	SupervisorName string `env:"OAUTH2_SUPERVISOR_USERNAME" default:"creditors-supervisor"`
	// Regular expression (RE2) that the beginning of superusers' identities matches. Empty: the identity is
	// OAUTH2_SUPERUSER_USERNAME.
	SuperuserRegex SubjectRegex `env:"APP_SUPERUSER_SUBJECT_REGEX"`
	// Regular expression (RE2) that the beginning of supervisors' identities matches. Empty: the identity is
	// OAUTH2_SUPERVISOR_USERNAME.
	SupervisorRegex SubjectRegex `env:"APP_SUPERVISOR_SUBJECT_REGEX"`
	// Regular expression (RE2) that the beginning of ordinary users' identities matches. Its first group is the creditor
	// ID, unsigned.
	CreditorRegex SubjectRegex `env:"APP_CREDITOR_SUBJECT_REGEX" default:"^creditors:([0-9]+)$"`
	// Development only: ask for no tokens, let everybody do everything.
	Unprotected bool `env:"APP_UNPROTECTED_ADMIN_API" default:"false"`
}

// Superusers returns what the identities of superusers match.
func (a AdminAccess) Superusers() *regexp.Regexp {
	return a.SuperuserRegex.or(a.SuperuserName)
}

// Supervisors returns what the identities of supervisors match.
func (a AdminAccess) Supervisors() *regexp.Regexp {
	return a.SupervisorRegex.or(a.SupervisorName)
}

// Creditors returns what the identities of ordinary users match. The first group is the creditor ID.
func (a AdminAccess) Creditors() *regexp.Regexp {
	return a.CreditorRegex.compiled
}
