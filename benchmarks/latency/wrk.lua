-- Sends the lines of a file as bodies, each with a request id of its own if there is a name of them.
-- Arguments: file, name.
local bodies, name, number = {}, nil, 0

function init(args)
  name = args[2]
  for line in io.lines(args[1]) do bodies[#bodies + 1] = line end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  local body = bodies[number % #bodies + 1]
  if name then wrk.headers["X-Request-ID"] = name .. "-" .. number end
  number = number + 1
  return wrk.format(nil, nil, nil, body)
end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    'summary {"requests": %d, "took_s": %f, "non_2xx": %d, "errors": %d}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
