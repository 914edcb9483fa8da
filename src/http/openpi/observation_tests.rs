use proptest::prelude::*;
use rmpv::Value;

use super::*;
use crate::http::msgpack::encode;

fn array(shape: &[usize], dtype: &str, data: Vec<u8>) -> Value {
    let key = |name: &str| Value::Binary(name.as_bytes().to_vec());
    Value::Map(vec![
        (key("__ndarray__"), true.into()),
        (key("data"), Value::Binary(data)),
        (key("dtype"), dtype.into()),
        (key("shape"), shape.iter().map(|side| Value::from(*side)).collect::<Vec<_>>().into()),
    ])
}

fn image(width: usize) -> Value {
    array(&[2, width, 3], "|u1", vec![7; 6 * width])
}

fn state(numbers: usize) -> Value {
    array(&[numbers], "<f8", vec![0; 8 * numbers])
}

fn message(entries: Vec<(&str, Value)>) -> Vec<u8> {
    encode(&Value::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())).unwrap()
}

fn read(entries: Vec<(&str, Value)>) -> Result<PredictRequest, ObservationError> {
    parse(&message(entries), &DecodeLimits::default())
}

fn width(request: &PredictRequest) -> u32 {
    let Picture::Pixels(picture) = &request.image else { panic!("not pixels") };
    picture.width()
}

#[test]
fn a_widowx_observation_is_read() {
    let request = read(vec![("observation/image", image(5)), ("prompt", "open the drawer".into())]).unwrap();
    assert_eq!((width(&request), request.instruction.as_str()), (5, "open the drawer"));
    assert!(request.tactile.is_none() && request.warnings.is_empty() && request.robot_id.is_none());
}

#[test]
fn a_droid_observation_uses_the_exterior_camera_and_says_what_it_left_alone() {
    let request = read(vec![
        ("observation/wrist_image_left", image(9)),
        ("observation/exterior_image_1_left", image(5)),
        ("observation/joint_position", state(7)),
        ("observation/gripper_position", state(1)),
        ("prompt", "go".into()),
    ])
    .unwrap();
    assert_eq!(width(&request), 5);
    assert_eq!(
        request.warnings,
        [Warning::new(
            "inputs_ignored",
            "this model has no use for: observation/wrist_image_left, observation/joint_position, observation/gripper_position"
        )]
    );
}

#[test]
fn nested_and_dotted_keys_are_the_same_as_slashes() {
    let planes = array(&[3, 4, 6], "|u1", vec![1; 72]);
    let cameras = Value::Map(vec![("cam_left_wrist".into(), planes.clone()), ("cam_high".into(), planes)]);
    let request = read(vec![("state", state(14)), ("images", cameras), ("prompt", Value::Nil)]).unwrap();
    assert_eq!((width(&request), request.instruction.as_str()), (6, ""));
    let dotted = read(vec![("observation.images.front", image(8)), ("task", vec![Value::from("go")].into())]);
    let dotted = dotted.unwrap();
    assert_eq!((width(&dotted), dotted.instruction.as_str()), (8, "go"));
}

#[test]
fn touch_and_files_and_the_servers_own_fields_are_read() {
    let png = vec![0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 1, 2];
    let request = read(vec![
        ("image", Value::Binary(png.clone())),
        ("observation/tactile", image(3)),
        ("robot_id", "arm-1".into()),
        ("deadline_ms", 250.into()),
        ("seed", 3.into()),
        ("use_dummy_tactile", true.into()),
    ])
    .unwrap();
    assert!(matches!(&request.image, Picture::Encoded(bytes) if *bytes == png));
    assert!(matches!(&request.tactile, Some(Picture::Pixels(picture)) if picture.width() == 3));
    assert_eq!(request.robot_id.as_deref(), Some("arm-1"));
    assert!(request.deadline.is_some() && request.force_black_tactile && request.warnings.is_empty());
    let buffer = array(&[png.len()], "|u1", png.clone());
    assert!(matches!(read(vec![("cam", buffer)]).unwrap().image, Picture::Encoded(bytes) if bytes == png));
}

#[test]
fn what_is_wrong_is_named() {
    let error = |entries| read(entries).unwrap_err().to_string();
    assert!(error(vec![("prompt", "go".into()), ("state", state(3))]).contains("keys [prompt, state]"));
    assert!(error(vec![("left", image(3)), ("right", image(3))]).contains("which of [left, right]"));
    assert!(error(vec![("observation/image", state(7))]).contains("`observation/image`: shape [7]"));
    assert!(error(vec![("image", "text".into())]).contains("`image` is text"));
    let odd = array(&[2, 2, 3], "|u1", vec![0; 3]);
    assert!(error(vec![("image", odd)]).contains("needs 12 bytes, got 3"));
    assert!(error(vec![("image", image(3)), ("prompt", 3.into())]).contains("`prompt` is an integer"));
    assert!(error(vec![("image", image(3)), ("deadline_ms", (-3).into())]).contains("`deadline_ms`"));
    assert!(error(vec![("image", image(3)), ("robot_id", 3.into())]).contains("`robot_id`"));
    assert!(error(vec![(&"k".repeat(300), image(3))]).contains("at most 256 bytes"));
    let list = encode(&Value::Array(vec![])).unwrap();
    let message = parse(&list, &DecodeLimits::default()).unwrap_err().to_string();
    assert_eq!(message, "an observation is a dictionary, got a list");
}

proptest! {
    #[test]
    fn no_change_to_an_observation_makes_it_panic(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = message(vec![
            ("observation/image", image(5)), ("observation/tactile", image(3)), ("prompt", "go".into()),
            ("robot_id", "a".into()), ("deadline_ms", 5.into()), ("state", state(2)),
        ]);
        for (index, byte) in hits {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(request) = parse(bytes, &DecodeLimits::default()) {
                prop_assert!(matches!(request.image, Picture::Encoded(_)) || width(&request) > 0);
            }
        }
    }
}
