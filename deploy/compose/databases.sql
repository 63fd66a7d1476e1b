-- What the databases of solver and worker are made of: two schemas of one database, each with a role of its own, whose
-- search_path leads there. They may as well be databases of their own, on different servers.

CREATE ROLE solver LOGIN PASSWORD 'solver';
CREATE SCHEMA solver AUTHORIZATION solver;
ALTER ROLE solver SET search_path = solver;

CREATE ROLE worker LOGIN PASSWORD 'worker';
CREATE SCHEMA worker AUTHORIZATION worker;
ALTER ROLE worker SET search_path = worker;
