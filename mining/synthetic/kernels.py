"""The warp kernels that render bodies, and the structs they read; see `render` for how they are
used.

Colours are RGB from 0 to 1.
"""

import warp as wp

PLAIN, STRIPES, CHECKS, DOTS, NOISE, PLAID = range(6)
SHIRT, SLEEVES, TROUSERS, SHOES = range(4)  # the order of a person's patterns
CLOTHES = 4

FAR_M = 1000.0
BACKGROUND = -1
EDGE_M = 0.03  # neighbouring pixels that differ more in depth show different surfaces


@wp.struct
class Pattern:
    """A pattern in the coordinates of the cloth: `axis_u`, `axis_v` are directions times repeats
    per metre.
    """

    kind: int
    axis_u: wp.vec3
    axis_v: wp.vec3
    duty: float
    colour_a: wp.vec3
    colour_b: wp.vec3
    colour_c: wp.vec3


@wp.struct
class Look:
    """How one person is coloured; heights and lengths are metres on the reference body (see
    `body_model`).

    Hair is above `hairline + hair_slope * (how far in front)`, and behind down to `hair_back`;
    sleeves and trousers end at `sleeve` along the arm and at the height `trouser_hem`; an `emblem`
    is a disc on the chest.
    """

    skin: wp.vec3
    hair: wp.vec3
    lips: wp.vec3
    iris: wp.vec3
    emblem: wp.vec3
    emblem_x: float
    emblem_z: float
    emblem_radius: float
    hairline: float
    hair_slope: float
    hair_back: float
    collar: float
    sleeve: float
    other_sleeve: float
    waist: float
    trouser_hem: float
    shoe_top: float


@wp.struct
class Lens:
    """A camera without distortion, as the kernels want it."""

    focal_x: float
    focal_y: float
    centre_x: float
    centre_y: float
    world_from_cam: wp.mat33
    position: wp.vec3


@wp.struct
class Light:
    """A far light towards `direction`, an ambient share, and a tint."""

    direction: wp.vec3
    strength: float
    ambient: float
    tint: wp.vec3


@wp.func
def pattern_colour(pattern: Pattern, point: wp.vec3) -> wp.vec3:
    """The colour of a pattern at a point of the cloth."""
    u = wp.dot(pattern.axis_u, point)
    v = wp.dot(pattern.axis_v, point)
    in_u = u - wp.floor(u)
    in_v = v - wp.floor(v)
    colour = pattern.colour_a
    if pattern.kind == STRIPES:
        if in_u < pattern.duty:
            colour = pattern.colour_b
    elif pattern.kind == CHECKS:
        if (in_u < 0.5) != (in_v < 0.5):
            colour = pattern.colour_b
    elif pattern.kind == DOTS:
        if (in_u - 0.5) * (in_u - 0.5) + (in_v - 0.5) * (in_v - 0.5) < 0.16 * pattern.duty + 0.03:
            colour = pattern.colour_b
    elif pattern.kind == NOISE:
        height = wp.noise(
            wp.uint32(7),
            wp.vec3(u, v, wp.dot(wp.cross(pattern.axis_u, pattern.axis_v), point) * 0.1),
        )
        mix = wp.clamp(0.5 + 1.6 * height, 0.0, 1.0)
        colour = pattern.colour_a * (1.0 - mix) + pattern.colour_b * mix
    elif pattern.kind == PLAID:
        if in_u < pattern.duty:
            colour = colour * 0.5 + pattern.colour_b * 0.5
        if in_v < pattern.duty:
            colour = colour * 0.5 + pattern.colour_c * 0.5
    return colour


@wp.func
def body_colour(
    look: Look, patterns: wp.array[Pattern], person: int, p: wp.vec3, arm: float, eye: float
) -> wp.vec3:
    """The colour of one point of a body; `p` is the point on the reference body, `arm` metres from
    the shoulder.
    """
    side = wp.abs(p[0])
    colour = look.skin
    if eye > 0.5:
        colour = wp.vec3(0.93, 0.93, 0.92)
        if (side - 0.0305) * (side - 0.0305) + (p[2] - 0.651) * (p[2] - 0.651) < 0.00004:
            colour = look.iris
    elif arm > 0.02:
        sleeve = look.sleeve
        if p[0] < 0.0:
            sleeve = look.other_sleeve
        if arm < sleeve:
            colour = pattern_colour(patterns[CLOTHES * person + SLEEVES], p)
    elif p[2] > 0.53 or (p[2] > look.collar and side < 0.07):
        front = -p[1]
        hairline = look.hairline + look.hair_slope * front
        if front < 0.0:
            hairline = wp.min(hairline, look.hair_back)
        if p[2] > hairline:
            colour = look.hair
        elif front > 0.07:
            across = side / 0.024
            up = (p[2] - 0.583) / 0.009
            if across * across + up * up < 1.0:
                colour = look.lips
            if side > 0.014 and side < 0.05 and wp.abs(p[2] - 0.674 + 0.1 * (side - 0.03)) < 0.005:
                colour = look.hair * 0.8
    elif p[2] > look.waist:
        colour = pattern_colour(patterns[CLOTHES * person + SHIRT], p)
        across = p[0] - look.emblem_x
        up = p[2] - look.emblem_z
        if p[1] < -0.02 and across * across + up * up < look.emblem_radius * look.emblem_radius:
            colour = look.emblem
    elif p[2] < look.shoe_top:
        colour = pattern_colour(patterns[CLOTHES * person + SHOES], p)
    elif p[2] > look.trouser_hem:
        colour = pattern_colour(patterns[CLOTHES * person + TROUSERS], p)
    return colour


@wp.func
def pixel_ray(lens: Lens, x: float, y: float) -> wp.vec3:
    """The world direction, of length 1, of the ray through (x, y) in pixels."""
    in_cam = wp.vec3((x - lens.centre_x) / lens.focal_x, (y - lens.centre_y) / lens.focal_y, 1.0)
    return wp.normalize(lens.world_from_cam * in_cam)


@wp.kernel
def vertex_normals_kernel(
    vertices: wp.array[wp.vec3],
    faces: wp.array2d[int],
    faces_around: wp.array2d[int],
    normals: wp.array[wp.vec3],
) -> None:
    """Area-weighted normals of `people x V` vertices that share the topology of one body."""
    i = wp.tid()
    vertices_each = faces_around.shape[0]
    base = (i // vertices_each) * vertices_each
    total = wp.vec3(0.0, 0.0, 0.0)
    for k in range(faces_around.shape[1]):
        face = faces_around[i - base, k]
        if face >= 0:
            a = vertices[base + faces[face, 0]]
            b = vertices[base + faces[face, 1]]
            c = vertices[base + faces[face, 2]]
            total += wp.cross(b - a, c - a)
    normals[i] = wp.normalize(total)


@wp.func
def where_on_plane(a: wp.vec3, b: wp.vec3, c: wp.vec3, start: wp.vec3, ray: wp.vec3) -> wp.vec2:
    """Where a ray meets a triangle's plane, as the weights of its first two corners (they may be
    outside 0 to 1).
    """
    normal = wp.cross(a - c, b - c)
    along = wp.dot(normal, ray)
    on_plane = start + ray * (wp.dot(normal, c - start) / along) - c
    area = wp.dot(normal, normal)
    return wp.vec2(
        wp.dot(wp.cross(on_plane, b - c), normal) / area,
        wp.dot(wp.cross(a - c, on_plane), normal) / area,
    )


@wp.func
def within_any(rectangles: wp.array[wp.vec4], x: float, y: float) -> bool:
    """Whether a point lies in one of the rectangles (left, top, right, bottom)."""
    for k in range(rectangles.shape[0]):
        r = rectangles[k]
        if x > r[0] and y > r[1] and x < r[2] and y < r[3]:
            return True
    return False


@wp.kernel
def cast_kernel(
    mesh: wp.uint64,
    lens: Lens,
    left: int,
    top: int,
    rectangles: wp.array[wp.vec4],
    hit_face: wp.array2d[int],
    hit: wp.array2d[wp.vec3],
) -> None:
    """The face seen through each pixel's centre, where on it and how far: weights of two corners,
    metres.

    Runs over the rectangle of pixels, from (left, top), outside of which nobody is, and casts in
    each person's `rectangles` (left, top, right, bottom).
    """
    row, column = wp.tid()  # type: ignore[misc]
    y = top + row
    x = left + column
    if not within_any(rectangles, float(x) + 0.5, float(y) + 0.5):
        return
    query = wp.mesh_query_ray(
        mesh, lens.position, pixel_ray(lens, float(x) + 0.5, float(y) + 0.5), FAR_M
    )
    if query.result:
        hit_face[y, x] = query.face
        hit[y, x] = wp.vec3(query.u, query.v, query.t)


@wp.kernel
def depth_kernel(mesh: wp.uint64, position: wp.vec3, points: wp.array[wp.vec3],
                 gap_m: wp.array[float], hit_face: wp.array[int]) -> None:  # fmt: skip
    """For each point, the face that a ray from `position` meets on the way, and how far before the
    point.
    """
    i = wp.tid()
    way = points[i] - position
    distance = wp.length(way)
    query = wp.mesh_query_ray(mesh, position, way / distance, distance)
    hit_face[i] = BACKGROUND
    gap_m[i] = 0.0
    if query.result:
        hit_face[i] = query.face
        gap_m[i] = distance - query.t


@wp.kernel
def shade_kernel(
    mesh: wp.uint64,
    lens: Lens,
    light: Light,
    faces: wp.array2d[int],
    vertices: wp.array[wp.vec3],
    normals: wp.array[wp.vec3],
    reference: wp.array[wp.vec3],
    arm_and_eye: wp.array[wp.vec2],
    looks: wp.array[Look],
    patterns: wp.array[Pattern],
    floor_pattern: Pattern,
    floor_share: float,
    wall: wp.array2d[wp.vec3],
    shadows: wp.array[wp.vec4],
    hit_face: wp.array2d[int],
    hit: wp.array2d[wp.vec3],
    image: wp.array2d[wp.vec3],
) -> None:
    """Colour every pixel from 0 to 1."""
    y, x = wp.tid()  # type: ignore[misc]
    near_person = wp.bool(False)  # a plain False would be a constant to warp
    at_edge = wp.bool(hit_face[y, x] < 0)
    for step in range(4):  # the neighbours above, below, left and right
        way = 2 * (step % 2) - 1
        row = y
        column = x
        if step < 2:
            row = wp.clamp(y + way, 0, hit_face.shape[0] - 1)
        else:
            column = wp.clamp(x + way, 0, hit_face.shape[1] - 1)
        if hit_face[row, column] >= 0:
            near_person = True
            if wp.abs(hit[row, column][2] - hit[y, x][2]) > EDGE_M:
                at_edge = True
        else:
            at_edge = True

    behind = wall[y, x]
    ray = pixel_ray(lens, float(x) + 0.5, float(y) + 0.5)
    if floor_share > 0.0 and ray[2] < -0.02:
        distance = -lens.position[2] / ray[2]
        point = lens.position + ray * distance
        floor_colour = pattern_colour(floor_pattern, point)
        # Patterns fade with distance, before their repeats get smaller than pixels.
        fade = wp.clamp((distance - 2.0) / 8.0, 0.0, 1.0)
        plain = 0.5 * (floor_pattern.colour_a + floor_pattern.colour_b)
        floor_colour = floor_colour * (1.0 - fade) + plain * fade
        lit = light.ambient + light.strength * light.direction[2]
        if within_any(shadows, point[0], point[1]):
            shadow = wp.mesh_query_ray(mesh, point, light.direction, FAR_M)
            if shadow.result:
                lit = light.ambient
        share = floor_share * wp.clamp((-ray[2] - 0.02) / 0.06, 0.0, 1.0)
        behind = behind * (1.0 - share) + wp.cw_mul(floor_colour, light.tint) * (lit * share)
    if not near_person:
        image[y, x] = behind
        return

    faces_each = faces.shape[0]
    vertices_each = reference.shape[0]
    total = wp.vec3(0.0, 0.0, 0.0)
    for sample in range(4):
        face = hit_face[y, x]
        u = hit[y, x][0]
        v = hit[y, x][1]
        if sample > 0:
            angle = 2.0944 * float(sample) + 0.4
            ray = pixel_ray(
                lens, float(x) + 0.5 + 0.36 * wp.cos(angle), float(y) + 0.5 + 0.36 * wp.sin(angle)
            )
            if at_edge:
                query = wp.mesh_query_ray(mesh, lens.position, ray, FAR_M)
                face = BACKGROUND
                if query.result:
                    face = query.face
                    u = query.u
                    v = query.v
            else:
                # Inside a surface the centre's triangle goes on far enough: no other ray is cast.
                person = face // faces_each
                base = person * vertices_each
                uv = where_on_plane(
                    vertices[base + faces[face - person * faces_each, 0]],
                    vertices[base + faces[face - person * faces_each, 1]],
                    vertices[base + faces[face - person * faces_each, 2]],
                    lens.position,
                    ray,
                )
                if wp.abs(uv[0] - 0.5) < 2.0 and wp.abs(uv[1] - 0.5) < 2.0:
                    u = uv[0]
                    v = uv[1]
        colour = behind
        if face >= 0:
            w = 1.0 - u - v
            person = face // faces_each
            a = faces[face - person * faces_each, 0]
            b = faces[face - person * faces_each, 1]
            c = faces[face - person * faces_each, 2]
            base = person * vertices_each
            normal = wp.normalize(
                u * normals[base + a] + v * normals[base + b] + w * normals[base + c]
            )
            p = u * reference[a] + v * reference[b] + w * reference[c]
            extra = u * arm_and_eye[a] + v * arm_and_eye[b] + w * arm_and_eye[c]
            colour = body_colour(looks[person], patterns, person, p, extra[0], extra[1])
            lambert = wp.max(wp.dot(normal, light.direction), 0.0)
            shade = light.ambient * (0.8 + 0.2 * normal[2]) + light.strength * lambert
            colour = wp.cw_mul(colour, light.tint) * shade
        total += colour * 0.25
    image[y, x] = total
