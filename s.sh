drag () 
{ 
    xdotool mousemove $1 $2 mousedown 1;
    sleep .3;
    for k in 1 2 3 4 5;
    do
        xdotool mousemove $(( $1 + ($3-$1)*k/5 )) $(( $2 + ($4-$2)*k/5 ));
        sleep .15;
    done;
    sleep .3;
    xdotool mouseup 1;
    sleep .5
}
